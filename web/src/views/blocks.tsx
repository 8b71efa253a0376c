/** Blocks, newest first, beside the latest transactions; and one block. */

import type { JSX } from "preact";
import { api, type BlockDetail } from "../api/client";
import { useResource } from "../api/resource";
import { Identifier } from "../components/identifier";
import { Facts, Heading, Panel } from "../components/layout";
import { Pages } from "../components/pages";
import { Empty, Loaded } from "../components/states";
import { Time } from "../components/time";
import { Tree } from "../components/tree";
import { bytes, count } from "../format/number";
import { t } from "../i18n";
import { beat } from "../live";
import { href } from "../route";
import { language } from "../settings";
import { BlockTable, TransactionTable } from "./chain-tables";

const PAGE = 25;

export function BlocksView(): JSX.Element {
  return (
    <>
      <Heading title={t("nav.blocks")} />
      <div class="columns">
        <Panel title={t("overview.blocks")}>
          <Pages name="blocks" load={(cursor, signal) => api.blocks({ limit: PAGE, cursor }, signal)} version={beat.value}>
            {(blocks) => <BlockTable blocks={blocks} />}
          </Pages>
        </Panel>
        <Panel title={t("nav.transactions")}>
          <Pages name="transactions" load={(cursor, signal) => api.transactions({ limit: PAGE, cursor }, signal)} version={beat.value}>
            {(transactions) => <TransactionTable transactions={transactions} />}
          </Pages>
        </Panel>
      </div>
    </>
  );
}

export function BlockView({ height }: { height: string }): JSX.Element {
  const block = useResource(height, (signal) => api.block(height, signal));
  const number = Number(height);
  return (
    <>
      <Heading title={t("block.title", { height: Number.isSafeInteger(number) ? count(number, language.value) : height })}>
        <span class="buttons">
          {number > 1 && (
            <a class="button" href={href(["blocks", number - 1])}>
              ← {t("block.previous")}
            </a>
          )}
          <a class="button" href={href(["blocks", number + 1])}>
            {t("block.next")} →
          </a>
        </span>
      </Heading>
      <Loaded of={block}>{(loaded) => <BlockContent block={loaded} />}</Loaded>
    </>
  );
}

function BlockContent({ block }: { block: BlockDetail }): JSX.Element {
  const { height, hash, time, proposer, transactions, bytes: size, transaction_ids: ids, commit, ...header } = block;
  return (
    <>
      <Panel>
        <Facts
          facts={[
            [t("block.height"), count(height, language.value)],
            [t("block.time"), <Time value={time} />],
            [t("block.hash"), <Identifier value={hash} />],
            [t("block.proposer"), <Identifier value={proposer} />],
            [t("block.transactions"), count(transactions, language.value)],
            [t("block.bytes"), bytes(size, language.value)],
          ]}
        />
      </Panel>
      <Panel title={t("nav.transactions")}>
        {ids.length === 0 ? (
          <Empty>{t("block.empty")}</Empty>
        ) : (
          <ul class="plain">
            {ids.map((id) => (
              <li key={id}>
                <Identifier value={id} href={href(["transactions", id])} head={24} tail={12} />
              </li>
            ))}
          </ul>
        )}
      </Panel>
      <div class="columns">
        <Panel title={t("block.header")}>
          <Tree value={header} />
        </Panel>
        <Panel title={t("block.commit")}>
          <Tree value={commit} />
        </Panel>
      </div>
    </>
  );
}
