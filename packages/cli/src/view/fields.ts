// Changes of fields, as `path: from -> to`.
import type { FieldChange } from "@berth/contract/resources/plans.ts";
import type { Paint } from "../output/colour.ts";
import { cut, oneLine } from "../output/width.ts";

export function fieldLines(changes: readonly FieldChange[], paint: Paint): string[] {
  return changes.map((change) => {
    if (change.from === undefined) return `${paint.good("+")} ${change.path}: ${value(change.to)}`;
    if (change.to === undefined) return `${paint.bad("-")} ${change.path}: ${value(change.from)}`;
    return `${paint.warn("~")} ${change.path}: ${value(change.from)} -> ${value(change.to)}`;
  });
}

function value(raw: unknown): string {
  return cut(oneLine(typeof raw === "string" ? raw : (JSON.stringify(raw) ?? "")), 120);
}
