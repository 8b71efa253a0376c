/** Fetches a message's proof and checks it here, in the browser. */

import { useEffect, useState } from "preact/hooks";
import { api, Problem, type Message } from "../api/client";
import { useResource, type Resource } from "../api/resource";
import { EncodingError } from "../proof/cbor";
import { parseTrust, type Trust } from "../proof/trust";
import { ProofError, verifyProof, type Verified } from "../proof/verify";
import { ownTrust, presentTrust, type TrustText } from "../trust";

export interface ProofMaterial {
  readonly stream: string;
  readonly file: Uint8Array<ArrayBuffer>;
  readonly trust: TrustText;
  readonly message: Message;
}

export type Check =
  | { readonly state: "checking" }
  | { readonly state: "verified"; readonly verified: Verified; readonly trust: Trust }
  | { readonly state: "failed"; readonly step: number; readonly reason: string; readonly trust: Trust }
  /** The proof holds, but is that of another message than the one asked for. */
  | { readonly state: "other-message"; readonly stream: string; readonly sequence: bigint }
  | { readonly state: "trust-refused"; readonly reason: string };

export function useProofMaterial(stream: string, sequence: number): Resource<ProofMaterial> {
  const own = ownTrust.value;
  return useResource(`${stream}/${sequence}/${own?.text ?? ""}`, async (signal) => {
    const trust = await presentTrust(signal);
    const [file, message] = await Promise.all([fetchProof(stream, sequence, trust, signal), api.message(stream, sequence, signal)]);
    return { stream, file, trust, message };
  });
}

/** Made for this trust file where the node can; else as it is, so that the check shows at which step the two part. */
async function fetchProof(stream: string, sequence: number, trust: TrustText, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return await api.proof(stream, sequence, parseTrust(trust.text).height, signal);
  } catch (error) {
    const untied = error instanceof EncodingError || (error instanceof Problem && /^(proof|state)\./.test(error.code));
    if (!untied) throw error;
    return api.proof(stream, sequence, undefined, signal);
  }
}

/** `altered` is the number of a byte to change in a copy before the check, to see it fail. */
export function useCheck(material: ProofMaterial | undefined, altered: number | null): Check {
  const [done, setDone] = useState<{ of: ProofMaterial; altered: number | null; check: Check } | null>(null);

  useEffect(() => {
    if (!material) return;
    // The panel is painted first: with many validators the arithmetic takes a moment.
    const timer = setTimeout(() => setDone({ of: material, altered, check: check(material, altered) }));
    return () => clearTimeout(timer);
  }, [material, altered]);

  return done && done.of === material && done.altered === altered ? done.check : { state: "checking" };
}

function check({ stream, file, trust, message }: ProofMaterial, altered: number | null): Check {
  let parsed: Trust;
  try {
    parsed = parseTrust(trust.text);
  } catch (error) {
    if (error instanceof EncodingError) return { state: "trust-refused", reason: error.message };
    throw error;
  }
  try {
    const verified = verifyProof(alter(file, altered), parsed);
    const { leaf } = verified;
    if (leaf.stream !== stream || leaf.sequence !== BigInt(message.sequence)) {
      return { state: "other-message", stream: leaf.stream, sequence: leaf.sequence };
    }
    return { state: "verified", verified, trust: parsed };
  } catch (error) {
    if (error instanceof ProofError) return { state: "failed", step: error.step, reason: error.message, trust: parsed };
    throw error;
  }
}

function alter(file: Uint8Array, at: number | null): Uint8Array {
  if (at === null) return file;
  const copy = file.slice();
  copy[at] = (copy[at] ?? 0) ^ 1;
  return copy;
}
