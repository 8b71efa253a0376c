/** The token of a node that demands one. It lives as long as the tab, and is sent to this node alone. */

import { batch, signal } from "@preact/signals";

const KEY = "althing.token";

function stored(): string | null {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null; // storage is forbidden: the token lasts as long as the page
  }
}

/** What is sent as `Authorization: Bearer …`; null where nothing is sent. */
export const token = signal<string | null>(stored());
/** True once the node has refused a request for its token, until one is accepted. */
export const wanted = signal(false);

export function logIn(accepted: string): void {
  batch(() => {
    keep(accepted);
    wanted.value = false;
  });
}

export function logOut(): void {
  batch(() => {
    keep(null);
    wanted.value = true;
  });
}

/** The node refused a request that carried `sent`. An answer to an older token says nothing about the present one. */
export function refused(sent: string | null): void {
  if (sent === token.value) wanted.value = true;
}

function keep(value: string | null): void {
  token.value = value;
  try {
    if (value === null) sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, value);
  } catch {
    // as above
  }
}

/** Headers are ASCII without spaces around; a pasted token often has a line end. Null if it can be none. */
export function tokenOf(text: string): string | null {
  const trimmed = text.trim();
  return /^[\x21-\x7e]+$/.test(trimmed) ? trimmed : null;
}
