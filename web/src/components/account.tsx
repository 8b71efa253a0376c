/** An organisation or gateway: its name where the chain knows one, its address to copy. */

import type { JSX } from "preact";
import { api } from "../api/client";
import { useResource } from "../api/resource";
import { isAddress, shorten } from "../format/identifier";
import { CopyButton } from "./identifier";

/** Names never change and are asked for once; an answer that failed is asked for again by the next view. */
const names = new Map<string, Promise<string>>();

function nameOf(address: string): Promise<string> {
  const known = names.get(address);
  if (known) return known;
  const asked = api.account(address).then(({ name }) => name);
  names.set(address, asked);
  asked.catch(() => names.delete(address));
  return asked;
}

export function AccountName({ address }: { address: string | null }): JSX.Element {
  const known = useResource(address ?? "", async () => (address !== null && isAddress(address) ? nameOf(address) : ""));
  if (address === null) return <span class="muted">–</span>;
  if (!isAddress(address)) return <>{address}</>;
  return (
    <span class="identifier">
      <span title={address}>{known.data ?? <code>{shorten(address)}</code>}</span>
      <CopyButton text={address} />
    </span>
  );
}
