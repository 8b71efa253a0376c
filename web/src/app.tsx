/** The frame of every view: brand, rooms, connection, language and theme. */

import { useEffect } from "preact/hooks";
import type { JSX } from "preact";
import {
  AutoIcon,
  BlocksIcon,
  DevicesIcon,
  MoonIcon,
  NetworkIcon,
  OverviewIcon,
  RefusalsIcon,
  StreamsIcon,
  SunIcon,
} from "./components/icons";
import { Heading } from "./components/layout";
import { t } from "./i18n";
import { connection } from "./live";
import { href, route } from "./route";
import { logOut, token, wanted } from "./session";
import { LANGUAGES, language, theme, type Theme } from "./settings";
import { BlockView, BlocksView } from "./views/blocks";
import { DeviceView, DevicesView } from "./views/devices";
import { LogIn } from "./views/login";
import { NetworkView } from "./views/network";
import { OverviewView } from "./views/overview";
import { RefusalsView } from "./views/refusals";
import { StreamView } from "./views/stream";
import { StreamsView } from "./views/streams";
import { TransactionView } from "./views/transaction";

const ROOMS = [
  { name: "overview", path: [], icon: OverviewIcon, covers: [""] },
  { name: "streams", path: ["streams"], icon: StreamsIcon, covers: ["streams"] },
  { name: "devices", path: ["devices"], icon: DevicesIcon, covers: ["devices"] },
  { name: "blocks", path: ["blocks"], icon: BlocksIcon, covers: ["blocks", "transactions"] },
  { name: "network", path: ["network"], icon: NetworkIcon, covers: ["network"] },
  { name: "refusals", path: ["refusals"], icon: RefusalsIcon, covers: ["refusals"] },
] as const;

export function App(): JSX.Element {
  const { path } = route.value;
  const place = path.join("/");
  useEffect(() => scrollTo(0, 0), [place]);
  useEffect(() => {
    document.title = [...path].reverse().concat("Althing").join(" · ");
  }, [path]);
  return (
    <>
      <a class="skip" href="#content" onClick={skip}>
        {t("nav.skip")}
      </a>
      <header class="top">
        <a class="brand" href={href([])}>
          <img src="/mark.svg" alt="" width="24" height="24" />
          Althing
        </a>
        <Rooms current={path[0] ?? ""} />
        <div class="top-tools">
          {!wanted.value && <ConnectionMark />}
          {!wanted.value && token.value !== null && (
            <button type="button" class="text-button" onClick={logOut}>
              {t("login.out")}
            </button>
          )}
          <LanguageButton />
          <ThemeButton />
        </div>
      </header>
      <main id="content" tabIndex={-1}>
        {wanted.value ? <LogIn /> : <View path={path} />}
      </main>
    </>
  );
}

/** The address behind # is taken by the route, so the jump is made by hand. */
function skip(event: Event): void {
  event.preventDefault();
  document.getElementById("content")?.focus();
}

function View({ path }: { path: readonly string[] }): JSX.Element {
  const [room, first, second, ...rest] = path;
  if (rest.length === 0) {
    if (room === undefined) return <OverviewView />;
    if (room === "streams" && first && second) return <StreamView key={`${first}/${second}`} stream={`${first}/${second}`} />;
    if (second === undefined) {
      if (room === "streams" && !first) return <StreamsView />;
      if (room === "devices") return first ? <DeviceView key={first} name={first} /> : <DevicesView />;
      if (room === "blocks") return first ? <BlockView key={first} height={first} /> : <BlocksView />;
      if (room === "transactions" && first) return <TransactionView key={first} id={first} />;
      if (room === "network" && !first) return <NetworkView />;
      if (room === "refusals" && !first) return <RefusalsView />;
    }
  }
  return (
    <Heading title={t("problem.missing")}>
      <a href={href([])}>{t("problem.missing.hint")}</a>
    </Heading>
  );
}

function Rooms({ current }: { current: string }): JSX.Element {
  return (
    <nav class="rooms" aria-label={t("nav.label")}>
      {ROOMS.map(({ name, path, icon: RoomIcon, covers }) => {
        const here = (covers as readonly string[]).includes(current);
        return (
          <a key={name} href={href(path)} class={here ? "here" : ""} {...(here && { "aria-current": "page" as const })}>
            <RoomIcon />
            <span>{t(`nav.${name}`)}</span>
          </a>
        );
      })}
    </nav>
  );
}

function ConnectionMark(): JSX.Element {
  const state = connection.value;
  return (
    <span class={`connection connection-${state}`} role="status" title={t(`connection.hint.${state}`)}>
      <span class="connection-dot" />
      <span class="connection-text">{t(`connection.${state}`)}</span>
    </span>
  );
}

function LanguageButton(): JSX.Element {
  const next = LANGUAGES.find((other) => other !== language.value) ?? "en";
  return (
    <button type="button" class="text-button" lang={next} aria-label={t("language.label")} onClick={() => (language.value = next)}>
      {t("language.switch")}
    </button>
  );
}

const THEMES: Readonly<Record<Theme, { readonly next: Theme; readonly icon: () => JSX.Element }>> = {
  auto: { next: "light", icon: AutoIcon },
  light: { next: "dark", icon: SunIcon },
  dark: { next: "auto", icon: MoonIcon },
};

function ThemeButton(): JSX.Element {
  const { next, icon: ThemeIcon } = THEMES[theme.value];
  const label = t(`theme.${theme.value}`);
  return (
    <button type="button" class="icon-button" aria-label={label} title={label} onClick={() => (theme.value = next)}>
      <ThemeIcon />
    </button>
  );
}
