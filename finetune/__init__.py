"""Students: TRL runs over the rows that synth writes."""
