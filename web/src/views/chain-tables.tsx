/** Tables of blocks, batches and transactions, shared by the views that show them. */

import type { JSX } from "preact";
import type { Batch, Block, Transaction } from "../api/client";
import { CodeBadge } from "../components/badges";
import { Identifier } from "../components/identifier";
import { Table } from "../components/layout";
import { Ago, Time } from "../components/time";
import { bytes, count } from "../format/number";
import { t } from "../i18n";
import { href } from "../route";
import { language } from "../settings";
import { messageSummary } from "./message-summary";

function number(value: number): string {
  return count(value, language.value);
}

function BlockLink({ height }: { height: number }): JSX.Element {
  return <a href={href(["blocks", height])}>{number(height)}</a>;
}

export function BlockTable({ blocks }: { blocks: readonly Block[] }): JSX.Element {
  return (
    <Table
      label={t("nav.blocks")}
      rows={blocks}
      id={(block) => block.height}
      columns={[
        { title: t("block.height"), kind: "number", cell: (block) => <BlockLink height={block.height} /> },
        { title: t("block.hash"), cell: (block) => <Identifier value={block.hash} href={href(["blocks", block.height])} /> },
        { title: t("block.time"), cell: (block) => <Time value={block.time} short /> },
        { title: t("block.count"), kind: "number", cell: (block) => number(block.transactions) },
        { title: t("block.bytes"), kind: "number wide", cell: (block) => bytes(block.bytes, language.value) },
      ]}
    />
  );
}

export function BatchTable({ batches }: { batches: readonly Batch[] }): JSX.Element {
  return (
    <Table
      label={t("overview.batches")}
      rows={batches}
      id={(batch) => batch.root}
      columns={[
        { title: t("batch.number"), kind: "number", cell: (batch) => <a href={href(["transactions", batch.transaction])}>{number(batch.number)}</a> },
        { title: t("batch.root"), cell: (batch) => <Identifier value={batch.root} /> },
        { title: t("batch.size"), kind: "number", cell: (batch) => number(batch.size) },
        { title: t("batch.streams"), kind: "number wide", cell: (batch) => number(batch.streams) },
        { title: t("batch.time"), cell: (batch) => <Ago value={batch.time} /> },
      ]}
    />
  );
}

export function TransactionTable({ transactions }: { transactions: readonly Transaction[] }): JSX.Element {
  return (
    <Table
      label={t("nav.transactions")}
      rows={transactions}
      id={(transaction) => transaction.id}
      columns={[
        { title: t("tx.id"), cell: (tx) => <Identifier value={tx.id} href={href(["transactions", tx.id])} /> },
        { title: t("tx.messages"), kind: "text", cell: (tx) => <code>{messageSummary(tx.messages)}</code> },
        { title: t("tx.result"), cell: (tx) => <CodeBadge code={tx.code} /> },
        { title: t("tx.block"), kind: "number", cell: (tx) => <BlockLink height={tx.height} /> },
        { title: t("tx.gas"), kind: "number wide", cell: (tx) => number(tx.gas_used) },
      ]}
    />
  );
}
