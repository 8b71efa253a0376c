/** Texts in the reader's language. Reading one inside a component makes the component follow the language. */

import { language } from "../settings";
import { en, type TextKey } from "./en";
import { zhCN } from "./zh-CN";

export type { TextKey } from "./en";

const TABLES: Readonly<Record<string, Readonly<Record<TextKey, string>>>> = { en, "zh-CN": zhCN };

type Values = Readonly<Record<string, string | number | bigint>>;

export function t(key: TextKey, values: Values = {}): string {
  const template = (TABLES[language.value] ?? en)[key];
  return template.replace(/\{(\w+)\}/g, (whole, name: string) => (name in values ? String(values[name]) : whole));
}

/** The text of a key that is put together at run time, or the given word where there is none. */
export function word(prefix: string, name: string): string {
  const key = `${prefix}.${name}`;
  return key in en ? t(key as TextKey) : name;
}
