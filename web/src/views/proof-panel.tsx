/** From a point to its proof: the check, its steps, and everything needed to repeat it elsewhere. */

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { JSX } from "preact";
import type { Message } from "../api/client";
import { Flags, OriginBadge } from "../components/badges";
import { CheckIcon, CrossIcon, DownloadIcon, ShieldIcon } from "../components/icons";
import { CopyButton } from "../components/identifier";
import { Loaded } from "../components/states";
import { Time } from "../components/time";
import { bytes, count, unit } from "../format/number";
import { t } from "../i18n";
import { language } from "../settings";
import { ownTrust } from "../trust";
import { useCheck, useProofMaterial, type Check, type ProofMaterial } from "./proof-check";
import { content } from "./proof-facts";
import { failure, ProofPath, ProofSteps } from "./proof-steps";

interface Props {
  stream: string;
  sequence: number;
  /** The reading that was clicked, by its index in the message. */
  index: number | null;
  onClose: () => void;
}

export function ProofPanel({ stream, sequence, index, onClose }: Props): JSX.Element {
  const material = useProofMaterial(stream, sequence);
  const title = useRef<HTMLHeadingElement>(null);
  useEffect(() => title.current?.focus(), [stream, sequence]);
  useEffect(() => {
    const close = (event: KeyboardEvent): void => {
      if (event.key === "Escape") onClose();
    };
    addEventListener("keydown", close);
    return () => removeEventListener("keydown", close);
  }, [onClose]);

  return (
    <aside class="proof" aria-label={t("proof.title")}>
      <header class="proof-head">
        <div>
          <h2 tabIndex={-1} ref={title}>
            {t("proof.of", { sequence: count(sequence, language.value) })}
          </h2>
          <p class="muted">{stream}</p>
        </div>
        <button type="button" class="icon-button" aria-label={t("proof.close")} title={t("proof.close")} onClick={onClose}>
          <CrossIcon />
        </button>
      </header>
      <Loaded of={material} rows={10}>
        {(loaded) => <Checked key={`${stream}/${sequence}`} material={loaded} stream={stream} index={index} />}
      </Loaded>
    </aside>
  );
}

function Checked({ material, stream, index }: { material: ProofMaterial; stream: string; index: number | null }): JSX.Element {
  const [altered, setAltered] = useState<number | null>(null);
  const check = useCheck(material, altered);
  const { message, file } = material;
  const alter = (): void => setAltered(Math.floor(Math.random() * file.length));
  return (
    <>
      <Verdict check={check} altered={altered} />
      <MessageContent check={check} />
      <MessageReadings message={message} index={index} />
      <ProofPath check={check} />
      <ProofSteps check={check} />
      <TakeAway material={material} stream={stream} sequence={message.sequence} />
      <TrustNote check={check} own={material.trust.own} />
      <p class="proof-try">
        <button type="button" class="button" title={t("proof.alter.hint")} onClick={alter}>
          {t("proof.alter")}
        </button>
        {altered !== null && (
          <button type="button" class="button" onClick={() => setAltered(null)}>
            {t("proof.restore")}
          </button>
        )}
      </p>
    </>
  );
}

function Verdict({ check, altered }: { check: Check; altered: number | null }): JSX.Element {
  return (
    <div class={`verdict verdict-${check.state}`} role="status">
      <span class="verdict-mark">{check.state === "verified" ? <CheckIcon /> : check.state === "checking" ? <ShieldIcon /> : <CrossIcon />}</span>
      <div>
        <strong>{verdictTitle(check)}</strong>
        {check.state === "verified" && (
          <p>{t("proof.verified.note", { bytes: bytes(check.verified.bytes, language.value) })}</p>
        )}
        {check.state === "failed" && <p>{failure(check)}</p>}
        {altered !== null && <p>{t("proof.altered", { at: count(altered + 1, language.value) })}</p>}
      </div>
    </div>
  );
}

function verdictTitle(check: Check): string {
  switch (check.state) {
    case "checking":
      return t("proof.checking");
    case "verified":
      return t("proof.verified");
    case "failed":
      return t("proof.failed", { step: check.step });
    case "other-message":
      return t("proof.other", { stream: check.stream, sequence: count(check.sequence, language.value) });
    case "trust-refused":
      return t("proof.trust.bad", { reason: check.reason });
  }
}

/** What the proof itself says: who vouches, and what was sent. None of it is the node's word. */
function MessageContent({ check }: { check: Check }): JSX.Element | null {
  if (check.state !== "verified") return null;
  return (
    <div class="proof-content">
      <div class="proof-content-head">
        <h3>{t("proof.content")}</h3>
        <OriginBadge origin={check.verified.device ? "device" : "gateway"} />
      </div>
      <pre>{content(check.verified)}</pre>
    </div>
  );
}

function MessageReadings({ message, index }: { message: Message; index: number | null }): JSX.Element {
  return (
    <div class="proof-readings">
      <p class="muted">{t("proof.readings")}</p>
      {message.unreadable && (
        <p>
          <code class="badge badge-bad">{message.unreadable.code}</code> {message.unreadable.message}
        </p>
      )}
      <ul>
        {message.readings.map((reading) => (
          <li key={reading.index} class={reading.index === index ? "marked" : ""}>
            <span class="muted">{reading.quantity}</span>
            <strong>{reading.value === null ? t("reading.none") : `${reading.value} ${unit(reading.unit)}`}</strong>
            <Time value={reading.device_time ?? reading.arrival_time} />
            <Flags flags={reading.flags} />
          </li>
        ))}
      </ul>
    </div>
  );
}

/** The very bytes that were checked, not another answer of the node. */
function TakeAway({ material, stream, sequence }: { material: ProofMaterial; stream: string; sequence: number }): JSX.Element {
  const proof = useFile(material.file, "application/cbor");
  const trust = useFile(material.trust.text, "application/json");
  const name = `${stream.replace("/", ".")}.${sequence}.proof.cbor`;
  const command = `althing proof verify ${name} --trust trust.json`;
  return (
    <section class="take-away">
      <div class="buttons">
        <a class="button button-main" href={proof} download={name}>
          <DownloadIcon />
          {t("proof.download")}
        </a>
        <a class="button" href={trust} download="trust.json">
          <DownloadIcon />
          {t("proof.downloadTrust")}
        </a>
      </div>
      <p class="muted">{t("proof.offline")}</p>
      <div class="command">
        <code>{command}</code>
        <CopyButton text={command} />
      </div>
    </section>
  );
}

/** An address within the browser for content that is already here. */
function useFile(content: Uint8Array<ArrayBuffer> | string, type: string): string {
  const url = useMemo(() => URL.createObjectURL(new Blob([content], { type })), [content, type]);
  useEffect(() => () => URL.revokeObjectURL(url), [url]);
  return url;
}

function TrustNote({ check, own }: { check: Check; own: boolean }): JSX.Element {
  const choose = async (event: Event): Promise<void> => {
    const file = (event.currentTarget as HTMLInputElement).files?.[0];
    if (file) ownTrust.value = { text: await file.text(), own: true };
  };
  const trust = check.state === "verified" || check.state === "failed" ? check.trust : null;
  const values = { height: trust ? count(trust.height, language.value) : "…", chain: trust?.chainId ?? "…" };
  return (
    <section class="trust-note">
      <p class="muted">{t(own ? "proof.trust.own" : "proof.trust.node", values)}</p>
      <div class="buttons">
        <label class="button">
          {t("proof.trust.use")}
          <input type="file" accept=".json,application/json" class="visually-hidden" onChange={(event) => void choose(event)} />
        </label>
        {own && (
          <button type="button" class="button" onClick={() => (ownTrust.value = null)}>
            {t("proof.trust.back")}
          </button>
        )}
      </div>
    </section>
  );
}
