/** What stands where content is not there: loading, nothing, or a problem with its code and hint. */

import type { ComponentChildren, JSX } from "preact";
import type { Problem } from "../api/client";
import type { Resource } from "../api/resource";
import { t } from "../i18n";

export function Loading({ rows = 4 }: { rows?: number }): JSX.Element {
  return (
    <div class="loading" role="status" aria-label={t("state.loading")}>
      {Array.from({ length: rows }, (_, index) => (
        <span key={index} class="bone" />
      ))}
    </div>
  );
}

export function Empty({ children }: { children?: ComponentChildren }): JSX.Element {
  return <p class="empty">{children ?? t("state.empty")}</p>;
}

export function ProblemNote({ problem, onRetry, stale = false }: { problem: Problem; onRetry?: () => void; stale?: boolean }): JSX.Element {
  const unreachable = problem.code === "page.unreachable";
  return (
    <div class={`problem ${stale ? "problem-stale" : ""}`} role="alert">
      <p>
        <strong>{unreachable ? t("problem.unreachable") : problem.detail}</strong> {stale && t("state.stale")}
      </p>
      {(problem.hint || unreachable) && <p class="muted">{unreachable ? t("problem.unreachable.hint") : problem.hint}</p>}
      <p class="problem-foot">
        <code>{problem.code}</code>
        {onRetry && (problem.status === 0 || problem.status >= 500) && (
          <button type="button" class="button" onClick={onRetry}>
            {t("state.retry")}
          </button>
        )}
      </p>
    </div>
  );
}

interface LoadedProps<T> {
  of: Resource<T>;
  rows?: number;
  children: (data: T) => ComponentChildren;
}

/** The content once it is there; an older answer stays in sight while a newer attempt fails. */
export function Loaded<T>({ of, rows, children }: LoadedProps<T>): JSX.Element {
  const { data, problem, reload } = of;
  return (
    <>
      {problem && <ProblemNote problem={problem} onRetry={reload} stale={data !== undefined} />}
      {data !== undefined ? children(data) : !problem && <Loading {...(rows !== undefined && { rows })} />}
    </>
  );
}
