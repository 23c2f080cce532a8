// What a stack may use in all, as people say and read it.
import type { StackQuota } from "@berth/contract/resources/stacks.ts";
import { UsageError } from "../failure.ts";
import { bytes } from "../output/time.ts";

const units: Readonly<Record<string, number>> = { "": 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 };

/** `512m`, `8g`: bytes, in the units of a Compose file. */
export function readMemory(text: string): number {
  const [, number, unit = ""] = /^(\d+(?:\.\d+)?)([kmgt]?)b?$/i.exec(text.trim()) ?? [];
  if (number === undefined)
    throw new UsageError(`--memory wants a size, not \`${text}\`.`, "For example `--memory 8g` or `--memory 512m`.");
  return Math.round(Number(number) * (units[unit.toLowerCase()] ?? 1));
}

/** `2.5`: cores. */
export function readCores(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value) || value < 0)
    throw new UsageError(`--cpu wants a number of cores, not \`${text}\`.`, "For example `--cpu 4` or `--cpu 0.5`.");
  return value;
}

/** A line for each: what is asked for, of what it may be. */
export function quotaFacts({ limits, used }: StackQuota): (readonly [string, string])[] {
  const of = (now: string, most: string | undefined): string => `${now} of ${most ?? "no limit"}`;
  return [
    ["instances", of(String(used.instances), limits.instances === undefined ? undefined : String(limits.instances))],
    ["cpu", of(String(used.cpu), limits.cpu === undefined ? undefined : `${String(limits.cpu)} cores`)],
    ["memory", of(used.memory === 0 ? "0" : bytes(used.memory), limits.memory === undefined ? undefined : bytes(limits.memory))],
  ];
}
