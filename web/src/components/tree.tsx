/** A decoded structure as it is, with hashes shortened and addresses copyable. */

import type { JSX } from "preact";
import type { Json } from "../api/client";
import { isAddress, isHexadecimal } from "../format/identifier";
import { Identifier } from "./identifier";

/** `Array.isArray` forgets what a read-only list holds. */
function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value);
}

export function Tree({ value }: { value: Json }): JSX.Element {
  if (isList(value)) {
    if (value.length === 0) return <span class="muted">[ ]</span>;
    return (
      <ol class="tree">
        {value.map((item, index) => (
          <li key={index}>
            <Tree value={item} />
          </li>
        ))}
      </ol>
    );
  }
  if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value);
    if (entries.length === 0) return <span class="muted">{"{ }"}</span>;
    return (
      <dl class="tree">
        {entries.map(([name, item]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>
              <Tree value={item} />
            </dd>
          </div>
        ))}
      </dl>
    );
  }
  if (value === null || value === undefined) return <span class="muted">–</span>;
  const text = String(value);
  if (isAddress(text) || isHexadecimal(text)) return <Identifier value={text} />;
  return <span class="tree-value">{text === "" ? "“”" : text}</span>;
}
