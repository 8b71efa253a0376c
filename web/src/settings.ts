/** What the reader chose about the page: theme and language. Kept in the browser, nowhere else. */

import { effect, signal } from "@preact/signals";

export type Theme = "auto" | "light" | "dark";
export type Language = "en" | "zh-CN";

export const LANGUAGES: readonly Language[] = ["en", "zh-CN"];

function stored(key: string): string | null {
  try {
    return localStorage.getItem(`althing.${key}`);
  } catch {
    return null; // storage is forbidden: the choice lasts as long as the page
  }
}

function store(key: string, value: string): void {
  try {
    localStorage.setItem(`althing.${key}`, value);
  } catch {
    // as above
  }
}

function initialTheme(): Theme {
  const theme = stored("theme");
  return theme === "light" || theme === "dark" ? theme : "auto";
}

function initialLanguage(): Language {
  const chosen = stored("language");
  if (chosen === "en" || chosen === "zh-CN") return chosen;
  return navigator.language.toLowerCase().startsWith("zh") ? "zh-CN" : "en";
}

export const theme = signal<Theme>(initialTheme());
export const language = signal<Language>(initialLanguage());

const system = matchMedia("(prefers-color-scheme: dark)");
const systemDark = signal(system.matches);
system.addEventListener("change", (event) => (systemDark.value = event.matches));

/** True while the page is dark, by choice or by the system. Canvases, which no style sheet reaches, follow it. */
export function isDark(): boolean {
  return theme.value === "dark" || (theme.value === "auto" && systemDark.value);
}

export function applySettings(): void {
  effect(() => {
    const root = document.documentElement;
    if (theme.value === "auto") delete root.dataset.theme;
    else root.dataset.theme = theme.value;
    store("theme", theme.value);
  });
  effect(() => {
    document.documentElement.lang = language.value;
    store("language", language.value);
  });
}
