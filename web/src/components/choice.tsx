/** One of a few: buttons side by side, a radio group to the keyboard and to screen readers. */

import type { JSX } from "preact";

interface Props<V extends string> {
  label: string;
  value: V;
  options: readonly { readonly value: V; readonly label: string; readonly hint?: string }[];
  onChange: (value: V) => void;
}

export function Choice<V extends string>({ label, value, options, onChange }: Props<V>): JSX.Element {
  return (
    <fieldset class="choice">
      <legend>{label}</legend>
      <div class="choice-options">
        {options.map((option) => (
          <label key={option.value} title={option.hint} class={option.value === value ? "chosen" : ""}>
            <input type="radio" name={label} checked={option.value === value} onChange={() => onChange(option.value)} />
            {option.label}
          </label>
        ))}
      </div>
    </fieldset>
  );
}
