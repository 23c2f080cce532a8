// Colours by their meaning. A painter that was made without colour changes nothing.
export interface Paint {
  bold(text: string): string;
  dim(text: string): string;
  good(text: string): string;
  bad(text: string): string;
  warn(text: string): string;
  link(text: string): string;
  /** The same name always gets the same colour. */
  name(text: string, of?: string): string;
}

const nameColours = [36, 35, 34, 33, 32, 96, 95, 94];

export function painter(colour: boolean): Paint {
  const sgr = (open: string | number, close: number) => (text: string) =>
    colour && text !== "" ? `\x1b[${open}m${text}\x1b[${close}m` : text;
  return {
    bold: sgr(1, 22),
    dim: sgr(2, 22),
    good: sgr(32, 39),
    bad: sgr(31, 39),
    warn: sgr(33, 39),
    link: sgr(36, 39),
    name: (text, of = text) => sgr(nameColours[sum(of) % nameColours.length] ?? 36, 39)(text),
  };
}

function sum(text: string): number {
  let value = 0;
  for (const character of text) value = (value * 31 + (character.codePointAt(0) ?? 0)) % 9973;
  return value;
}
