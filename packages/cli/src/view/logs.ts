// Log lines of instances, tasks and builds. On a terminal a line keeps its colours and nothing else that could act on the terminal; a pipe gets it as it was.
import type { LogLine } from "@berth/contract/resources/components.ts";
import type { Output } from "../output/output.ts";
import { padded, safeLine } from "../output/width.ts";

interface BuildLine {
  readonly stream: "stdout" | "stderr" | "berth";
  readonly step?: string;
  readonly text: string;
}

/** The text alone. */
export function logText(line: Pick<LogLine, "text" | "stream">, out: Output): string {
  const text = out.outIsTerminal ? safeLine(line.text) : line.text;
  return line.stream === "berth" ? out.paint.dim(`[berth] ${text}`) : text;
}

/** Who said a line: the component, with its cluster where it runs in several, and the instance where there are several. */
export function speaker(label: string, component: string, instance: string | undefined): string {
  return instance === undefined ? label : `${label}/${shortInstance(instance, component)}`;
}

/** With the time and who said it, the names beneath each other. */
export function prefixedLog(
  line: LogLine,
  options: {
    readonly out: Output;
    readonly who: string;
    readonly component: string;
    readonly width: number;
    readonly time: string | undefined;
  },
): string {
  const { paint } = options.out;
  return `${options.time === undefined ? "" : `${paint.dim(options.time)} `}${paint.name(padded(options.who, options.width), options.component)} ${paint.dim("|")} ${logText(line, options.out)}`;
}

/** What tells an instance from its siblings: its id without the component's name. */
export function shortInstance(id: string, component: string): string {
  const rest = id.startsWith(`${component}-`) ? id.slice(component.length + 1) : id;
  return rest.length > 8 ? rest.slice(-8) : rest;
}

export function buildLine(line: BuildLine, out: Output): string {
  const text = out.outIsTerminal ? safeLine(line.text) : line.text;
  return line.stream === "berth" ? out.paint.bold(text) : text;
}
