/** Loads what a view shows, and loads it again when asked, without the view flickering in between. */

import { useEffect, useRef, useState } from "preact/hooks";
import { Problem } from "./client";

export interface Resource<T> {
  /** The last answer for this key; kept while a newer one is on its way. */
  readonly data: T | undefined;
  /** Why the last attempt failed; cleared by the next answer. */
  readonly problem: Problem | undefined;
  readonly reload: () => void;
}

interface State<T> {
  readonly key: string;
  readonly data?: T;
  readonly problem?: Problem | undefined;
}

type Load<T> = (signal: AbortSignal) => Promise<T>;

/** `key` names what is loaded: a change drops the old answer. A change of `version` asks for the same thing anew. */
export function useResource<T>(key: string, load: Load<T>, version = 0): Resource<T> {
  const [state, setState] = useState<State<T>>({ key });
  const [attempt, setAttempt] = useState(0);
  const latest = useRef(load);
  latest.current = load;
  const loader = useRef<Loader | null>(null);

  useEffect(() => {
    const started = startLoader(async (signal) => {
      try {
        const data = await latest.current(signal);
        if (!signal.aborted) setState({ key, data });
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof Problem)) throw error;
        setState((before) => ({ ...(before.key === key ? before : { key }), problem: error }));
      }
    });
    loader.current = started;
    return started.stop;
  }, [key]);

  useEffect(() => loader.current?.ask(), [key, version, attempt]);

  const current: State<T> = state.key === key ? state : { key };
  return { data: current.data, problem: current.problem, reload: () => setAttempt((count) => count + 1) };
}

interface Loader {
  readonly ask: () => void;
  readonly stop: () => void;
}

/** One request at a time: asked again meanwhile, it goes once more at the end, so a slow answer is never starved. */
function startLoader(once: (signal: AbortSignal) => Promise<void>): Loader {
  const controller = new AbortController();
  let busy = false;
  let asked = 0;

  async function run(): Promise<void> {
    busy = true;
    let served: number;
    do {
      served = asked;
      await once(controller.signal);
    } while (served !== asked && !controller.signal.aborted);
    busy = false;
  }

  return {
    ask: () => {
      asked++;
      if (!busy) void run();
    },
    stop: () => controller.abort(),
  };
}
