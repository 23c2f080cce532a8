// Tables that fit the terminal: columns give way by their weight, then the least important ones go. Without a width nothing is cut.
import { cut, padded, widthOf } from "./width.ts";

export interface Column<T> {
  readonly title: string;
  readonly of: (row: T) => string;
  readonly style?: ((text: string, row: T) => string) | undefined;
  readonly align?: "right";
  /** How readily the column gives way; 0 (the default) = never. */
  readonly shrink?: number;
  /** Narrower than this it says nothing any more; 8 unless told. */
  readonly least?: number;
  /** Columns with a higher number go first when the table is still too wide; without one a column stays. */
  readonly drop?: number;
}

const gap = 2;

/** Lines of the table. `width` undefined = as wide as it needs: for pipes, where a cut value is a lost value. */
export function table<T>(
  columns: readonly Column<T>[],
  rows: readonly T[],
  options: { readonly width: number | undefined; readonly head?: (text: string) => string },
): string[] {
  const cells = rows.map((row) => new Map(columns.map((column) => [column, column.of(row)])));
  const natural = new Map(
    columns.map((column) => [column, Math.max(widthOf(column.title), ...cells.map((cell) => widthOf(cell.get(column) ?? "")))]),
  );
  const kept = options.width === undefined ? columns : fitting(columns, natural, options.width);
  const widths = options.width === undefined ? natural : shrunk(kept, natural, options.width);
  const line = (text: (column: Column<T>) => string, style: (text: string, column: Column<T>) => string): string =>
    kept
      .map((column, index) => {
        const width = widths.get(column) ?? 0;
        const value = cut(text(column), width);
        const space = " ".repeat(Math.max(0, width - widthOf(value)));
        const last = index === kept.length - 1;
        return column.align === "right" ? space + style(value, column) : style(value, column) + (last ? "" : space);
      })
      .join(" ".repeat(gap))
      .trimEnd();
  const head = line(
    (column) => column.title,
    (text) => text,
  );
  return [
    options.head === undefined ? head : options.head(head),
    ...rows.map((row, index) =>
      line(
        (column) => cells[index]?.get(column) ?? "",
        (text, column) => column.style?.(text, row) ?? text,
      ),
    ),
  ];
}

/** `name: value` lines, the values beneath each other; absent values are left out. */
export function facts(
  pairs: readonly (readonly [string, string | undefined])[],
  style: (text: string) => string = (text) => text,
): string[] {
  const there = pairs.filter((pair): pair is readonly [string, string] => pair[1] !== undefined);
  const width = Math.max(0, ...there.map(([name]) => widthOf(name))) + gap;
  return there.flatMap(([name, value]) => value.split("\n").map((line, index) => style(padded(index === 0 ? name : "", width)) + line));
}

function least<T>(column: Column<T>, natural: ReadonlyMap<Column<T>, number>): number {
  const own = natural.get(column) ?? 0;
  return (column.shrink ?? 0) === 0 ? own : Math.min(own, Math.max(column.least ?? 8, widthOf(column.title)));
}

function fitting<T>(columns: readonly Column<T>[], natural: ReadonlyMap<Column<T>, number>, width: number): readonly Column<T>[] {
  let kept = [...columns];
  for (;;) {
    const needed = kept.reduce((sum, column) => sum + least(column, natural), gap * (kept.length - 1));
    const next = kept.filter((column) => column.drop !== undefined).sort((a, b) => (b.drop ?? 0) - (a.drop ?? 0))[0];
    if (needed <= width || next === undefined) return kept;
    kept = kept.filter((column) => column !== next);
  }
}

function shrunk<T>(columns: readonly Column<T>[], natural: ReadonlyMap<Column<T>, number>, width: number): ReadonlyMap<Column<T>, number> {
  const widths = new Map(columns.map((column) => [column, natural.get(column) ?? 0]));
  const total = (): number => [...widths.values()].reduce((sum, value) => sum + value, gap * (columns.length - 1));
  while (total() > width) {
    const able = columns.filter((column) => (widths.get(column) ?? 0) > least(column, natural));
    // The one that has most to give for its weight gives a column.
    const giver = able.sort((a, b) => (widths.get(b) ?? 0) * (b.shrink ?? 0) - (widths.get(a) ?? 0) * (a.shrink ?? 0))[0];
    if (giver === undefined) break;
    widths.set(giver, (widths.get(giver) ?? 0) - 1);
  }
  return widths;
}
