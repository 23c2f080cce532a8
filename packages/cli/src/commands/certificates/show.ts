// `berth certificates show`
import { renderCause } from "@berth/contract/causes.ts";
import { renderNote } from "@berth/contract/notes.ts";
import { defineCommand, required } from "../../command.ts";
import { when } from "../../output/time.ts";
import { evidenceLines } from "../../view/cause.ts";
import { showObject } from "../shown.ts";
import { nextOf } from "../../view/certificates.ts";

export const command = defineCommand({
  path: ["certificates", "show"],
  scope: "none",
  summary: "Show a certificate (never its key), or how far a host's automatic one is",
  arguments: { certificate: required("its name, or the host of an automatic one") },
  examples: [
    ["berth certificates show shop", "issuer, hosts, dates"],
    ["berth certificates show shop.example.com", "why it has no certificate yet, with the authority's own words"],
  ],
  async run(ctx, { arguments: { certificate: name } }) {
    const api = await ctx.api();
    // Names have no dots.
    const { items } = name.includes(".")
      ? await api.listAutomaticCertificates({ query: { search: name, limit: 500 } }, { signal: ctx.signal })
      : { items: [] };
    const host = items.find((item) => item.host === name);
    if (host !== undefined) {
      const why = host.cause === undefined ? undefined : renderCause(host.cause);
      showObject(ctx, host, [
        ["host", ctx.out.paint.bold(host.host)],
        ["state", host.phase],
        ["certificate", host.certificate],
        ["expires", host.notAfter === undefined ? undefined : when(host.notAfter)],
        ["next", nextOf(host)],
        ["failures", host.failures === 0 ? undefined : `${String(host.failures)}, the last ${when(host.failedAt ?? "")}`],
        ["why", why?.sentence],
        ["evidence", host.cause === undefined ? undefined : evidenceLines(host.cause, ctx.out.paint).join("\n") || undefined],
        ["do", why?.next],
      ]);
      return;
    }
    const shown = await api.showCertificate({ params: { certificate: name } }, { signal: ctx.signal });
    showObject(ctx, shown, [
      ["certificate", ctx.out.paint.bold(shown.name) + (shown.isDefault ? " (default)" : "")],
      ["hosts", shown.hosts.join("\n")],
      ["subject", shown.subject],
      ["issuer", shown.issuer],
      ["valid", `${when(shown.notBefore)} to ${when(shown.notAfter)}`],
      ["renewed", shown.renewsAt === undefined ? undefined : `by itself, ${when(shown.renewsAt)}`],
      ["fingerprint", shown.fingerprint],
      ["set", `${when(shown.updatedAt)} by ${shown.updatedBy}`],
      ["warnings", shown.warnings.map((note) => renderNote(note)).join("\n") || undefined],
    ]);
  },
});
