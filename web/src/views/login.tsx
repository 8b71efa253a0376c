/** What a node that demands a token shows instead of its rooms. */

import { useState } from "preact/hooks";
import type { JSX } from "preact";
import { api, Problem } from "../api/client";
import { Heading } from "../components/layout";
import { t, type TextKey } from "../i18n";
import { logIn, token, tokenOf } from "../session";

export function LogIn(): JSX.Element {
  const [text, setText] = useState("");
  const [busy, setBusy] = useState(false);
  // A token that came from an earlier visit of this tab and was refused is worth a word.
  const [reason, setReason] = useState<TextKey | null>(token.value === null ? null : "login.refused");

  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    const candidate = tokenOf(text);
    if (candidate === null) {
      setReason("login.form");
      return;
    }
    setBusy(true);
    try {
      await api.tryToken(candidate);
      logIn(candidate);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      setReason(error.status === 401 ? "login.refused" : error.code === "page.unreachable" ? "problem.unreachable" : "login.failed");
    } finally {
      setBusy(false);
    }
  };

  return (
    <>
      <Heading title={t("login.title")} />
      <form class="login panel" onSubmit={(event) => void submit(event)}>
        <p>{t("login.lead")}</p>
        <label>
          <span>{t("login.token")}</span>
          <input
            type="password"
            name="token"
            autocomplete="off"
            spellcheck={false}
            autoFocus
            value={text}
            aria-invalid={reason !== null}
            aria-describedby="login-reason"
            onInput={(event) => {
              setText(event.currentTarget.value);
              setReason(null);
            }}
          />
        </label>
        <p id="login-reason" class="login-reason" role="alert">
          {reason && t(reason)}
        </p>
        <button type="submit" class="button button-main" disabled={busy || text === ""}>
          {t("login.submit")}
        </button>
        <p class="muted">{t("login.kept")}</p>
      </form>
    </>
  );
}
