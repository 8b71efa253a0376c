/** The few shapes every view is made of: a heading, panels, lists of facts, tables. */

import type { ComponentChildren, JSX } from "preact";

export function Heading({ title, lead, children }: { title: ComponentChildren; lead?: string; children?: ComponentChildren }): JSX.Element {
  return (
    <header class="heading">
      <div class="heading-line">
        <h1>{title}</h1>
        {children}
      </div>
      {lead && <p class="muted">{lead}</p>}
    </header>
  );
}

interface PanelProps {
  title?: ComponentChildren;
  more?: ComponentChildren;
  class?: string;
  children: ComponentChildren;
}

export function Panel({ title, more, class: name = "", children }: PanelProps): JSX.Element {
  return (
    <section class={`panel ${name}`}>
      {title && (
        <div class="panel-head">
          <h2>{title}</h2>
          {more}
        </div>
      )}
      {children}
    </section>
  );
}

export type Fact = readonly [label: string, value: ComponentChildren];

export function Facts({ facts }: { facts: readonly Fact[] }): JSX.Element {
  return (
    <dl class="facts">
      {facts.map(([label, value]) => (
        <div key={label} class="fact">
          <dt>{label}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

interface Column<T> {
  readonly title: string;
  readonly cell: (row: T) => ComponentChildren;
  /** `number` aligns to the right; `text` may break its lines; `wide` needs room beyond a phone's, `extra` a desktop's. */
  readonly kind?: "number" | "text" | "wide" | "extra" | "number wide" | "number extra";
}

interface TableProps<T> {
  label: string;
  columns: readonly Column<T>[];
  rows: readonly T[];
  id: (row: T) => string | number;
  marked?: (row: T) => boolean;
}

export function Table<T>({ label, columns, rows, id, marked }: TableProps<T>): JSX.Element {
  return (
    <div class="table-frame">
      <table aria-label={label}>
        <thead>
          <tr>
            {columns.map(({ title, kind = "" }) => (
              <th key={title} scope="col" class={kind}>
                {title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={id(row)} class={marked?.(row) ? "marked" : ""}>
              {columns.map(({ title, cell, kind = "" }) => (
                <td key={title} class={kind}>
                  {cell(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
