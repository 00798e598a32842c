"""Spellings of one answer are equal, spellings of two never are."""

from __future__ import annotations

import time

import pytest

from synth.answers.equal import same, same_answer, votes
from synth.answers.reading import read

SAME = r"""
5 km|5000 m
2 hours|120 minutes
1.5 hours|90 min
1 hour 30 minutes|90 minutes
5 feet 6 inches|66 inches
1.2 million|1200000
$1.5 billion|$1,500,000,000
5k|5000
2 dozen|24
half a dozen|6
a dozen|12
three dozen eggs|36
twenty-three|23
one and a half|1.5
two thirds|2/3
three-quarters|0.75
minus five|-5
negative seven|-7
two point five|2.5
one hundred and twenty thousand|120000
two hundred thousand|200000
five lakh|500000
1.5 crore|15000000
12,34,567|1234567
1.234,56|1234.56
1 234,56|1234.56
1'234.5|1234.5
1 234 567|1234567
1,234|1234
1 234,56|1234.56
1 234|1234
3万5千|35000
1.2億|120000000
二十三|23
一百二十|120
５|5
१२३|123
٣٫٥|3.5
①|1
\dfrac{3}{4}|3/4
\frac34|0.75
10{,}000|10000
10\,000|10000
2^{10}|1024
3 \times 10^{8}|300000000
3 x 10^8|300000000
3×10⁸|300000000
5\frac{1}{2}|5.5
5 1/2|5.5
5½|5.5
1 and 1/2|1.5
\text{12 apples}|12
90^\circ|90
90 degrees|90°
50\%|0.5
75 percent|3/4
75 %|75%
75%|0.75
\sqrt{16}|4
\boxed{\dfrac{3}{4}}|0.75
$\frac{1}{2}$|0.5
**5**|5
**Paris**|paris
5.|5
"Paris"|Paris
The answer is 5 apples|5
The answer is 5|5
$5.00|5 USD
€5|5€
5 euros|€5
US$5|$5
$5|5 dollars
-$5|-5
$-5|-5
−5|-5
–5|-5
~5|5
≈ 5|5
about 5|5
approximately 1,200|1200
5 (approximately)|5
5 (five)|5
007|7
1e3|1000
1.5e-3|0.0015
1E6|1000000
0x1F|31
∞|infinity
\infty|inf
-\infty|-∞
x = 5|5
(B)|B
B.|b
Option B|b
(B) Paris|Paris
B. Paris|paris
(B) Paris|B
B) Paris|Paris
yes|Yes.
True|true
{1,2}|{2, 1}
\{1,2\}|2, 1
2 and 3|3, 2
1, 2, and 3|{3,2,1}
{red, blue}|blue, red
[1,2)|[1, 2)
(-\infty, 3]|(-∞,3]
\pm 3|3, -3
March 5, 2024|2024-03-05
5 March 2024|2024/03/05
31/12/2024|2024-12-31
05.03.2024|2024-03-05
2024年3月5日|2024-03-05
March 5|5th of March
3:30 PM|15:30
3:30 p.m.|3:30 PM
15:30|3:30 pm
3 pm|15:00
5-6|5 to 6
5–6|5 to 6
2:3|2 : 3
2\pi|2π
\sqrt{2}|√2
\begin{pmatrix}1&2\\3&4\end{pmatrix}|\begin{bmatrix} 1 & 2 \\ 3 & 4 \end{bmatrix}
The Beatles|Beatles
don’t|don't
5 m/s|5 meters per second
60 mph|60 miles per hour
3 m^2|3 square meters
3 m²|3 sq m
100cm|1m
5 pounds|£5
5 lbs|5 pounds
50 cents|$0.50
32°C|32 degrees Celsius
12 days|12
3,5|3.5
3,5 km|3.5 km
€3,50|€3.5
1180591620717411303424|1,180,591,620,717,411,303,424
0.1|1/10
3.14159|3.14159
5 students|5 people
18 eggs|18 egg
\frac{1}{2} km|500 m
5 million people|5000000
5 Millionen|5000000
2,5 Mio|2500000
5M|5000000
$5M|5000000
¥1万|10000 yen
百分之五十|50%
<answer>5</answer>|5
`5`|5
5 percent of students|5%
20 - 3|17
(84 / 2)|42
1_000_000|1000000
$18|18
\$18|18
$1,200$|1200
\(5\)|5
[5]|5
{5}|5
5!|5!
"""
OTHER = r"""
12345803|12345802
8123458|8123457
1180591620717411303499|1180591620717411303424
5 km|5 m
5 hours|5 minutes
100 million|100
5k|5
2 dozen|2
5 kg|5 km
$5|€5
5 USD|5 EUR
1.234|1234
1,234|1.234
\dfrac{3}{4}|3
10{,}000|10
2^{10}|2
3 \times 10^{8}|3
0.5|50
1/2|2
3 1/2|31/2
[1,2)|(1,2]
(1,2)|[1,2)
x<3|x>3
x \le 3|x < 3
C#|C++
C#|C
कि|का
5-6|-1
3:30 AM|3:30 PM
2:3|23
2:3|3:2
2024-03-05|2024-05-03
3/5/2024|5/3/2024
March 5|March 6
5 apples|5 oranges
5 furlongs|5 fathoms
1234567.8|1234567.9
$1,234,567.89|$1,234,567.12
3.14160|3.14159
A|B
(B) Paris|(B) London
One Direction|One World
yes|no
-5|5
5 ± 1|5 ± 2
\sqrt{2}|\sqrt{3}
\frac{a}{b}|\frac{b}{a}
5 or 6|5
5°C|5°F
3 m|3 m^2
2π|2
1e3|1e4
0x10|10
万|1
∞|-∞
5 to 6|6 to 7
12 cats|13 cats
20%|20
x^2|x_2
"""


def pairs(table: str) -> list[tuple[str, str]]:
    return [
        (left, right)
        for left, _, right in (
            line.partition("|") for line in table.strip().splitlines()
        )
    ]


@pytest.mark.parametrize("pair", pairs(SAME), ids=" = ".join)
def test_spellings_of_one_answer(pair):
    assert same(read(pair[0]), read(pair[1])) is True
    assert same(read(pair[1]), read(pair[0])) is True


@pytest.mark.parametrize("pair", pairs(OTHER), ids=" or ".join)
def test_other_answers(pair):
    assert not same_answer(*pair)
    assert not same_answer(*reversed(pair))


def test_what_is_unknown():
    for pair in (
        ("5 km", "5 kg"),
        ("1.234", "1234"),
        ("$5", "\u20ac5"),
        ("5 apples", "5 oranges"),
        ("bus", "26"),
    ):
        assert same(read(pair[0]), read(pair[1])) is None
    assert same(read("1.234", ","), read("1234")) is True
    assert same(read("1,234", "."), read("1.234", ".")) is False


def test_whole_numbers_compare_exactly_at_any_size():
    large = 10**200 + 1
    assert same(read(str(large)), read(f"{large:,}")) is True
    assert same(read(str(large)), read(str(large + 1))) is False
    assert same(read("1000000"), read("1000001"), tolerance=0.5) is False


def test_a_bare_number_votes_for_the_only_unit():
    assert (
        votes(["5 km", "5", "5000 m"])[0] == votes(["5 km", "5", "5000 m"])[2]
    )
    assert len(set(votes(["5 km", "5", "5 km"]))) == 1
    assert len(set(votes(["5 hours", "5 minutes"]))) == 2


def test_hostile_texts_cost_little():
    started = time.process_time()
    for text in (
        "5 " * 250, "1." * 250, "one and " * 60, "a" * 100_000, "1,2;" * 120, "\u4e00" * 500, "5 km " * 100, "(" * 500, "$" * 500, "5-6 to " * 70,
        "10^64^64^64", "(((9^64)^64)^64)^64", "\u00bd" * 500, "1 hour " * 70, r"\frac{1}" * 60, "x = " * 120, "[5" * 200, "0x" + "f" * 400, "'" * 500,
        "5 (a" * 120, "~" * 500, "the " * 120, "march " * 80, "." * 500, "1 " * 250 + "x", "1'" * 250, "- " * 250 + "1", "5 square " * 60,
    ):  # fmt: skip
        read(text)
        assert same_answer(text, text)
    assert time.process_time() - started < 2
