/** A hash, key or address: shortened to look at, whole to copy. */

import { useState } from "preact/hooks";
import type { JSX } from "preact";
import { shorten } from "../format/identifier";
import { t } from "../i18n";
import { CheckIcon, CopyIcon } from "./icons";

const SHOWN_MS = 1_500;

export function CopyButton({ text }: { text: string }): JSX.Element {
  const [done, setDone] = useState(false);
  const copy = async (): Promise<void> => {
    await copyText(text);
    setDone(true);
    setTimeout(() => setDone(false), SHOWN_MS);
  };
  return (
    <button type="button" class="copy" title={t("copy.copy")} aria-label={t(done ? "copy.done" : "copy.copy")} onClick={() => void copy()}>
      {done ? <CheckIcon /> : <CopyIcon />}
    </button>
  );
}

/** The clipboard exists on secure origins only; elsewhere a selection does. */
async function copyText(text: string): Promise<void> {
  if (window.isSecureContext) return navigator.clipboard.writeText(text);
  const field = document.createElement("textarea");
  field.value = text;
  document.body.append(field);
  field.select();
  // eslint-disable-next-line @typescript-eslint/no-deprecated -- the only way on an origin without TLS
  document.execCommand("copy");
  field.remove();
}

interface Props {
  value: string;
  href?: string;
  head?: number;
  tail?: number;
}

export function Identifier({ value, href, head, tail }: Props): JSX.Element {
  const short = <code title={value}>{shorten(value, head, tail)}</code>;
  return (
    <span class="identifier">
      {href ? <a href={href}>{short}</a> : short}
      <CopyButton text={value} />
    </span>
  );
}
