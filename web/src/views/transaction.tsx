/** One transaction: its decoded messages and its receipt. */

import type { JSX } from "preact";
import { api, type TransactionDetail } from "../api/client";
import { useResource } from "../api/resource";
import { CodeBadge } from "../components/badges";
import { Identifier } from "../components/identifier";
import { Facts, Heading, Panel } from "../components/layout";
import { Empty, Loaded } from "../components/states";
import { Tree } from "../components/tree";
import { count } from "../format/number";
import { t } from "../i18n";
import { href } from "../route";
import { language } from "../settings";

export function TransactionView({ id }: { id: string }): JSX.Element {
  const transaction = useResource(id, (signal) => api.transaction(id, signal));
  return (
    <>
      <Heading title={t("tx.title")}>
        <Identifier value={id} head={16} tail={12} />
      </Heading>
      <Loaded of={transaction}>{(loaded) => <Content transaction={loaded} />}</Loaded>
    </>
  );
}

function Content({ transaction: { height, receipt, transaction } }: { transaction: TransactionDetail }): JSX.Element {
  const { messages, ...envelope } = transaction ?? {};
  return (
    <>
      <Panel>
        <Facts
          facts={[
            [t("tx.result"), <CodeBadge code={receipt.code} />],
            [t("tx.block"), <a href={href(["blocks", height])}>{count(height, language.value)}</a>],
            [t("tx.gas"), count(receipt.gas_used, language.value)],
          ]}
        />
      </Panel>
      <Panel title={t("tx.messages")}>
        <Tree value={messages ?? []} />
      </Panel>
      <div class="columns">
        <Panel title={t("tx.envelope")}>
          <Tree value={envelope} />
        </Panel>
        <Panel title={t("tx.events")}>{receipt.events.length === 0 ? <Empty>{t("tx.noEvents")}</Empty> : <Tree value={receipt.events} />}</Panel>
      </div>
    </>
  );
}
