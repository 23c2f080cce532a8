// How a host whose certificate Berth gets by itself is shown.
import { renderCause } from "@berth/contract/causes.ts";
import type { AutomaticCertificate } from "@berth/contract/resources/certificates.ts";
import type { Context } from "../context.ts";
import type { Column } from "../output/table.ts";
import { when } from "../output/time.ts";

export function hostColumns(ctx: Context): Column<AutomaticCertificate>[] {
  return [
    { title: "HOST", of: (item) => item.host, style: ctx.out.paint.bold, shrink: 1 },
    { title: "STATE", of: (item) => item.phase },
    { title: "EXPIRES", of: (item) => item.notAfter?.slice(0, 10) ?? "-" },
    { title: "NEXT", of: (item) => nextOf(item), shrink: 1 },
    { title: "WHY", of: (item) => (item.cause === undefined ? "" : renderCause(item.cause).sentence), shrink: 4 },
  ];
}

export function nextOf(item: AutomaticCertificate): string {
  if (item.triesAgainAt !== undefined) return `tried again ${when(item.triesAgainAt)}`;
  return item.phase === "issued" && item.renewsAt !== undefined ? `renewed ${when(item.renewsAt)}` : "under way";
}
