// Which track and which endpoint a request goes to. Pure: readiness, request facts and the random number come in, so that every decision can be replayed in a test.
import { setFlagsFromString } from "node:v8";
import type { MatchCondition, MatchRule } from "../engines/traffic.ts";

// Patterns come from stack owners, and one router serves every stack: V8's linear-time engine ("l" flag) makes a pattern that takes exponential time impossible.
setFlagsFromString("--enable-experimental-regexp-engine");

/** Header values are cut to this many characters before a pattern sees them. */
const matchLimit = 4096;

/** What is asked of a request; names of headers in lower case. */
export interface RequestFacts {
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

/** A track as the choice sees it: `usable` are the endpoints that are active and ready now. */
export interface ChoiceTrack<E> {
  readonly name: string;
  readonly weight: number;
  readonly usable: readonly E[];
}

export interface Choice<T> {
  readonly track: T;
  readonly by: "rule" | "sticky" | "weight";
}

interface CompiledCondition {
  readonly in: "header" | "cookie";
  readonly name: string;
  readonly test: (value: string | undefined) => boolean;
}
export interface CompiledRule {
  readonly track: string;
  readonly conditions: readonly CompiledCondition[];
}

/** Prepares rules for many requests. A pattern that cannot be run in linear time never matches; `patternProblem` tells beforehand. */
export function compileRules(rules: readonly MatchRule[]): CompiledRule[] {
  return rules.map((rule) => ({ track: rule.track, conditions: rule.conditions.map(compileCondition) }));
}

function compileCondition(condition: MatchCondition): CompiledCondition {
  const name = condition.in === "header" ? condition.name.toLowerCase() : condition.name;
  const wanted = condition.value;
  switch (condition.match) {
    case "present":
      return { in: condition.in, name, test: (value) => value !== undefined };
    case "exact":
      return { in: condition.in, name, test: (value) => value === wanted };
    case "prefix":
      return { in: condition.in, name, test: (value) => value !== undefined && value.startsWith(wanted) };
    case "regex": {
      const pattern = linearPattern(wanted);
      return {
        in: condition.in,
        name,
        test: (value) => pattern !== undefined && value !== undefined && pattern.test(value.slice(0, matchLimit)),
      };
    }
    default:
      return condition.match satisfies never;
  }
}

function linearPattern(source: string): RegExp | undefined {
  return patternProblem(source) === undefined ? new RegExp(source, "l") : undefined;
}

/** Why this pattern cannot be used in a match rule (no back references, no look-around); undefined when it can. */
export function patternProblem(source: string): string | undefined {
  try {
    return new RegExp(source, "l") instanceof RegExp ? undefined : "is not a pattern";
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** The value of one cookie; of several with this name the first, as browsers send the most specific one first. */
export function cookieValue(header: string | undefined, name: string): string | undefined {
  if (header === undefined) return undefined;
  for (let at = 0; at < header.length;) {
    let end = header.indexOf(";", at);
    if (end < 0) end = header.length;
    while (header.charCodeAt(at) === 32) at += 1;
    if (header.startsWith(name, at) && header.charCodeAt(at + name.length) === 61) return header.slice(at + name.length + 1, end).trimEnd();
    at = end + 1;
  }
  return undefined;
}

function matches(rule: CompiledRule, facts: RequestFacts): boolean {
  for (const condition of rule.conditions) {
    const header = facts.headers[condition.in === "header" ? condition.name : "cookie"];
    const text = Array.isArray(header) ? header.join(", ") : header;
    if (!condition.test(condition.in === "header" ? text : cookieValue(text, condition.name))) return false;
  }
  return true;
}

/**
 * The track for a request: the first rule that holds, else the track its sticky cookie names, else by weight (`random` in [0, 1)).
 * Only a track with a usable endpoint is chosen; a rule or cookie whose track has none falls back to the weights, so that nobody is refused
 * while another track serves (promise 3). A weight of 0 takes nothing but what a rule sends. undefined: no track can serve now.
 */
export function chooseTrack<E, T extends ChoiceTrack<E>>(
  tracks: readonly T[],
  rules: readonly CompiledRule[],
  sticky: string | undefined,
  facts: RequestFacts,
  random: number,
): Choice<T> | undefined {
  for (const rule of rules) {
    if (!matches(rule, facts)) continue;
    const track = usableTrack<E, T>(tracks, rule.track);
    if (track !== undefined) return { track, by: "rule" };
    break;
  }
  if (sticky !== undefined) {
    const track = usableTrack<E, T>(tracks, sticky);
    if (track !== undefined && track.weight > 0) return { track, by: "sticky" };
  }
  const track = byWeight<E, T>(tracks, random);
  return track === undefined ? undefined : { track, by: "weight" };
}

function usableTrack<E, T extends ChoiceTrack<E>>(tracks: readonly T[], name: string): T | undefined {
  for (const track of tracks) if (track.name === name && track.usable.length > 0) return track;
  return undefined;
}

/** Shares among the tracks that have a usable endpoint and a weight above 0. */
export function byWeight<E, T extends ChoiceTrack<E>>(tracks: readonly T[], random: number): T | undefined {
  let total = 0;
  let last: T | undefined;
  for (const track of tracks)
    if (track.weight > 0 && track.usable.length > 0) {
      total += track.weight;
      last = track;
    }
  let left = random * total;
  for (const track of tracks) {
    if (track.weight <= 0 || track.usable.length === 0) continue;
    left -= track.weight;
    if (left < 0) return track;
  }
  return last;
}

/** The less busy of two endpoints picked at random ("power of two choices"): near the best balance, without a herd running to one idle endpoint. */
export function lessBusy<E extends { readonly inFlight: number }>(endpoints: readonly E[], random: number): E | undefined {
  const count = endpoints.length;
  if (count <= 1) return endpoints[0];
  const scaled = random * count;
  const first = Math.min(Math.floor(scaled), count - 1);
  const second = (first + 1 + Math.min(Math.floor((scaled - first) * (count - 1)), count - 2)) % count;
  const a = endpoints[first];
  const b = endpoints[second];
  return a === undefined || b === undefined || b.inFlight >= a.inFlight ? a : b;
}
