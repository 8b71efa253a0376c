/** The page's icons: 20 × 20, stroked in the colour of the text around them. */

import type { ComponentChildren, JSX } from "preact";

function Icon({ children }: { children: ComponentChildren }): JSX.Element {
  return (
    <svg class="icon" viewBox="0 0 20 20" aria-hidden="true" focusable="false">
      {children}
    </svg>
  );
}

export const OverviewIcon = () => (
  <Icon>
    <path d="M3 11.5 10 4l7 7.5M5 10v6.5h10V10" />
  </Icon>
);
export const StreamsIcon = () => (
  <Icon>
    <path d="M2.5 11h3l2.5-6 4 10 2.5-6h3" />
  </Icon>
);
export const DevicesIcon = () => (
  <Icon>
    <path d="M6 6h8v8H6zM8.5 3v3M11.5 3v3M8.5 14v3M11.5 14v3M3 8.5h3M3 11.5h3M14 8.5h3M14 11.5h3" />
  </Icon>
);
export const BlocksIcon = () => (
  <Icon>
    <path d="M10 3 3.5 6.5v7L10 17l6.5-3.5v-7zM3.5 6.5 10 10l6.5-3.5M10 10v7" />
  </Icon>
);
export const NetworkIcon = () => (
  <Icon>
    <circle cx="10" cy="4.5" r="2" />
    <circle cx="4" cy="15" r="2" />
    <circle cx="16" cy="15" r="2" />
    <path d="m9 6.3-4 7M11 6.3l4 7M6 15h8" />
  </Icon>
);
export const RefusalsIcon = () => (
  <Icon>
    <circle cx="10" cy="10" r="6.5" />
    <path d="m5.5 5.5 9 9" />
  </Icon>
);
export const CopyIcon = () => (
  <Icon>
    <path d="M7 7h9v9H7zM4 13V4h9" />
  </Icon>
);
export const CheckIcon = () => (
  <Icon>
    <path d="m4 10.5 4 4 8-9" />
  </Icon>
);
export const CrossIcon = () => (
  <Icon>
    <path d="m5 5 10 10M15 5 5 15" />
  </Icon>
);
export const DownloadIcon = () => (
  <Icon>
    <path d="M10 3v9M6 8.5l4 4 4-4M4 16.5h12" />
  </Icon>
);
export const SunIcon = () => (
  <Icon>
    <circle cx="10" cy="10" r="3" />
    <path d="M10 2.5v2M10 15.5v2M2.5 10h2M15.5 10h2M4.7 4.7l1.4 1.4M13.9 13.9l1.4 1.4M4.7 15.3l1.4-1.4M13.9 6.1l1.4-1.4" />
  </Icon>
);
export const MoonIcon = () => (
  <Icon>
    <path d="M15.5 11.8A6.2 6.2 0 0 1 8.2 4.5a6.2 6.2 0 1 0 7.3 7.3z" />
  </Icon>
);
export const AutoIcon = () => (
  <Icon>
    <circle cx="10" cy="10" r="6.5" />
    <path d="M10 3.5v13a6.5 6.5 0 0 0 0-13z" class="icon-fill" />
  </Icon>
);
export const ShieldIcon = () => (
  <Icon>
    <path d="M10 2.8 4 5v4.5c0 3.6 2.5 6.3 6 7.7 3.5-1.4 6-4.1 6-7.7V5zM7.2 10l2 2 3.6-4" />
  </Icon>
);
