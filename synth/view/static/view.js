// j and k follow the links to the next row and to the one before; / goes to the search; y, n and u
// press the buttons of a label. A search that met nothing yet goes on by itself.
"use strict";
const keys = { j: "a[rel=next]", k: "a[rel=prev]" };
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select");
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/") {
    const field = document.querySelector("input[type=search]");
    if (field) { event.preventDefault(); field.focus(); }
    return;
  }
  const button = document.querySelector(`button[data-key="${CSS.escape(event.key)}"]`);
  if (button) { button.click(); return; }
  const link = keys[event.key] && document.querySelector(keys[event.key]);
  if (link) link.click();
});
const onward = document.querySelector("a[data-go-on]");
if (onward) location.replace(onward.href);
