// Showing work as it goes on: a live block on a terminal, plain lines with the time in a pipe, nothing with --quiet.
import type { Output } from "../output/output.ts";
import { clockTime, duration } from "../output/time.ts";
import { cut, oneLine, padded, widthOf } from "../output/width.ts";
import { rowsOf, type Model, type Row } from "./model.ts";

export interface Display {
  update(model: Model): void;
  buildLine(build: number, text: string): void;
  /** Leaves the last state standing. */
  stop(): void;
}

export function createDisplay(out: Output, now: () => Date, rows: () => number): Display {
  if (out.quiet) return { update: () => undefined, buildLine: () => undefined, stop: () => undefined };
  return out.errIsLive ? liveDisplay(out, now, rows) : lineDisplay(out, now);
}

const frames = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/** The lines of the live block, none wider than `width`. */
export function blockLines(rows: readonly Row[], frame: number, width: number, paint: Output["errPaint"], most: number): string[] {
  const shown = rows.length <= most ? rows : [...rows].sort((a, b) => weight(a) - weight(b)).slice(0, Math.max(1, most - 1));
  const name = Math.min(24, Math.max(0, ...shown.map((row) => widthOf(row.component))));
  const phase = Math.max(10, ...shown.map((row) => widthOf(row.phase)));
  const lines = shown.map((row) => {
    const mark =
      row.look === "good" ? paint.good("✓") : row.look === "bad" ? paint.bad("✗") : paint.link(frames[frame % frames.length] ?? "");
    const time = padded(duration(row.elapsed), 6, true);
    const room = width - name - phase - widthOf(time) - 8;
    const detail = room < 8 ? "" : cut(oneLine(row.detail), room);
    const styled = row.look === "good" ? paint.good : row.look === "bad" ? paint.bad : paint.warn;
    return cutLine(
      `${mark} ${paint.bold(padded(cut(row.component, name), name))}  ${styled(padded(row.phase, phase))}  ${paint.dim(time)}${detail === "" ? "" : `  ${detail}`}`,
      width,
    );
  });
  return shown.length === rows.length ? lines : [...lines, paint.dim(`  and ${rows.length - shown.length} more`)];
}

/** What goes on comes before what has ended when not all fit. */
function weight(row: Row): number {
  return row.look === "working" ? 0 : row.look === "bad" ? 1 : 2;
}

function cutLine(line: string, width: number): string {
  return widthOf(line) <= width ? line : cut(line, width);
}

function liveDisplay(out: Output, now: () => Date, rows: () => number): Display {
  let model: Model | undefined;
  let drawn = 0;
  let frame = 0;
  const draw = (): void => {
    if (model === undefined) return;
    const lines = blockLines(rowsOf(model, now()), frame, (out.errWidth ?? 80) - 1, out.errPaint, Math.max(3, rows() - 2));
    // One write, so that no half-drawn block is ever seen.
    out.err(
      `${drawn > 0 ? `\x1b[${drawn}A` : ""}${lines.map((line) => `\x1b[2K${line}\n`).join("")}${drawn > lines.length ? `\x1b[J` : ""}`,
    );
    drawn = lines.length;
  };
  const timer = setInterval(() => {
    frame += 1;
    draw();
  }, 100);
  return {
    update(next) {
      model = next;
      draw();
    },
    buildLine: () => undefined,
    stop() {
      clearInterval(timer);
      draw();
    },
  };
}

function lineDisplay(out: Output, now: () => Date): Display {
  const said = new Map<string, string>();
  const say = (text: string): void => {
    out.progress(`${out.errPaint.dim(clockTime(now()))} ${text}`);
  };
  return {
    update(model) {
      for (const row of rowsOf(model, now())) {
        // The build's own lines tell what it does.
        const detail = row.phase === "building" && !row.detail.endsWith("queued") ? "" : row.detail;
        const text = `${row.component}: ${row.phase}${detail === "" ? "" : `, ${detail}`}`;
        if (said.get(row.component) === text) continue;
        said.set(row.component, text);
        say(row.look === "good" ? `${text} (after ${duration(row.elapsed)})` : text);
      }
    },
    buildLine(build, text) {
      say(`build ${build} | ${oneLine(text)}`);
    },
    stop: () => undefined,
  };
}
