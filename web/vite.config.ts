import { defineConfig } from "vitest/config";

// `ALTHING_API` names the node or fixture server whose API the development server passes on.
const api = process.env.ALTHING_API ?? "http://127.0.0.1:8080";

export default defineConfig({
  base: "/",
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    outDir: "../src/althing/console/static",
    emptyOutDir: true,
    target: "es2022",
    // Everything is its own file: an inlined asset would need `data:` in the content security policy.
    assetsInlineLimit: 0,
    reportCompressedSize: false,
    // Of every package in the page: it is handed on in a wheel.
    license: { fileName: "licences.md" },
  },
  server: { host: "127.0.0.1", proxy: { "/v1": api } },
  test: { include: ["tests/**/*.test.ts"], environment: "node" },
});
