/** Where the reader is: the part of the address behind `#`. No server has to know these paths. */

import { signal } from "@preact/signals";

export interface Route {
  readonly path: readonly string[];
  readonly query: Readonly<Record<string, string>>;
}

export function parseRoute(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  return {
    path: path.split("/").filter(Boolean).map(decode),
    query: Object.fromEntries(new URLSearchParams(query)),
  };
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // a stray % typed by hand
  }
}

/** An address within the page. Empty and missing parameters are left out. */
export function href(path: readonly (string | number)[], query: Readonly<Record<string, string | undefined>> = {}): string {
  const given = Object.entries(query).filter((pair): pair is [string, string] => Boolean(pair[1]));
  const search = new URLSearchParams(given).toString();
  return `#/${path.map((part) => encodeURIComponent(part)).join("/")}${search && `?${search}`}`;
}

export function streamHref(stream: string, query: Readonly<Record<string, string | undefined>> = {}): string {
  return href(["streams", ...stream.split("/")], query);
}

export const route = signal<Route>(parseRoute(location.hash));

addEventListener("hashchange", () => (route.value = parseRoute(location.hash)));

/** Change parameters of the present address; without `push`, going back does not stop here. */
export function setQuery(changes: Readonly<Record<string, string | undefined>>, { push = false } = {}): void {
  const { path, query } = route.peek();
  const target = href(path, { ...query, ...changes });
  if (push) {
    location.hash = target;
  } else {
    history.replaceState(null, "", target);
    route.value = parseRoute(target);
  }
}
