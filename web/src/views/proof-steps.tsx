/** The nine steps of a check, numbered, each with what it means and what it found. */

import type { JSX } from "preact";
import { CheckIcon, CrossIcon } from "../components/icons";
import { Facts } from "../components/layout";
import { t, type TextKey } from "../i18n";
import { STEPS, type StepName, type Verified } from "../proof/verify";
import type { Check } from "./proof-check";
import { stepFacts } from "./proof-facts";

type Outcome = "checking" | "ok" | "failed" | "skipped";

export function outcome(check: Check, step: number): Outcome {
  switch (check.state) {
    case "verified":
      return "ok";
    case "failed":
      return step < check.step ? "ok" : step === check.step ? "failed" : "skipped";
    default:
      return "checking";
  }
}

/** The explanation that fits what was found: who signed, and how the header is tied to the trust file. */
function why(name: StepName, verified: Verified | null): TextKey {
  if (name === "origin") return verified?.device === null ? "proof.origin.why.gateway" : "proof.origin.why.device";
  if (name === "trust") return verified ? `proof.trust.why.${verified.tie}` : "proof.trust.why";
  return `proof.${name}.why`;
}

/** Why a step fails, in the reader's language; the check's own words stand in it. */
export function failure(check: Extract<Check, { state: "failed" }>): string {
  return t(`proof.${STEPS[check.step - 1] ?? "form"}.fails`, { reason: check.reason });
}

export function ProofSteps({ check }: { check: Check }): JSX.Element {
  const verified = check.state === "verified" ? check.verified : null;
  return (
    <ol class="steps">
      {STEPS.map((name, index) => {
        const number = index + 1;
        const result = outcome(check, number);
        return (
          <li key={name} id={`step-${number}`} class={`step step-${result}`}>
            <span class="step-mark">{result === "ok" ? <CheckIcon /> : result === "failed" ? <CrossIcon /> : number}</span>
            <div class="step-body">
              <h3>
                <span class="step-number">{number}.</span> {t(`proof.${name}`)}
              </h3>
              {result === "failed" && check.state === "failed" && <p class="step-reason">{failure(check)}</p>}
              <p class="step-why">{result === "skipped" ? t("proof.step.skipped") : t(why(name, verified))}</p>
              {check.state === "verified" && <Facts facts={stepFacts(name, check.verified, check.trust)} />}
            </div>
          </li>
        );
      })}
    </ol>
  );
}

const HOPS = [
  { name: "message", steps: [1, 2, 7] },
  { name: "batch", steps: [3] },
  { name: "log", steps: [4] },
  { name: "state", steps: [5, 6] },
  { name: "header", steps: [8] },
  { name: "validators", steps: [9] },
] as const;

/** The way from the message to the validators at one glance. */
export function ProofPath({ check }: { check: Check }): JSX.Element {
  return (
    <ol class="hops" aria-label={t("proof.path")}>
      {HOPS.map(({ name, steps }) => {
        const outcomes = steps.map((step) => outcome(check, step));
        const worst = (["failed", "skipped", "checking"] as const).find((result) => outcomes.includes(result)) ?? "ok";
        return (
          <li key={name} class={`hop hop-${worst}`}>
            <span class="hop-dot" />
            {t(`proof.hop.${name}`)}
          </li>
        );
      })}
    </ol>
  );
}
