// Events as sentences of the catalogue, with the cause beneath a failure.
import { fill } from "@berth/contract/causes.ts";
import { eventTemplate, type Event } from "@berth/contract/resources/events.ts";
import type { Paint } from "../output/colour.ts";
import { duration } from "../output/time.ts";
import { oneLine } from "../output/width.ts";
import { causeSentence } from "./cause.ts";

export function eventText(event: Event): string {
  const params = Object.fromEntries(
    Object.entries(event.params).map(([name, value]) => [
      name,
      name === "took" && typeof value === "number"
        ? duration(value)
        : typeof value === "string" || typeof value === "number" || typeof value === "boolean"
          ? value
          : JSON.stringify(value),
    ]),
  );
  const sentence = fill(eventTemplate(event), params);
  return oneLine(event.cause === undefined ? sentence : `${sentence} ${causeSentence(event.cause)}`);
}

export function eventLine(event: Event, paint: Paint): string {
  const where = event.component ?? event.stack;
  const text = eventText(event);
  const style = event.code.endsWith("_failed")
    ? paint.bad
    : event.code.endsWith("_succeeded") || event.code === "instance_ready"
      ? paint.good
      : (plain: string) => plain;
  return `${where === undefined ? "" : `${paint.name(where)}  `}${style(text)}`;
}
