/** A list that the API hands out page by page. The first page stays fresh; further ones are appended on demand. */

import { useState } from "preact/hooks";
import type { ComponentChildren, JSX } from "preact";
import { Problem } from "../api/client";
import { useResource } from "../api/resource";
import { t } from "../i18n";
import { Empty, Loaded, ProblemNote } from "./states";

interface Props<K extends string, T> {
  name: K;
  load: (cursor: string | undefined, signal?: AbortSignal) => Promise<Record<K, T[]> & { next: string | null }>;
  version?: number;
  empty?: string;
  children: (rows: T[]) => ComponentChildren;
}

export function Pages<K extends string, T>({ name, load, version = 0, empty, children }: Props<K, T>): JSX.Element {
  const [extra, setExtra] = useState<{ rows: T[]; next: string | null } | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  // Once the reader has gone further, the list stands still under the eyes.
  const [still, setStill] = useState<number | null>(null);
  const first = useResource(name, (signal) => load(undefined, signal), still ?? version);

  const more = async (cursor: string): Promise<void> => {
    setStill((before) => before ?? version);
    try {
      const page = await load(cursor);
      setExtra((before) => ({ rows: [...(before?.rows ?? []), ...page[name]], next: page.next }));
      setProblem(null);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      setProblem(error);
    }
  };

  return (
    <Loaded of={first} rows={8}>
      {(page) => {
        const rows = [...page[name], ...(extra?.rows ?? [])];
        const next = extra ? extra.next : page.next;
        return (
          <>
            {rows.length === 0 ? <Empty>{empty}</Empty> : children(rows)}
            {problem && <ProblemNote problem={problem} />}
            {next !== null && (
              <button type="button" class="button more" onClick={() => void more(next)}>
                {t("state.more")}
              </button>
            )}
          </>
        );
      }}
    </Loaded>
  );
}
