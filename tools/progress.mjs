// Progress of the scripts: a line that counts seconds on a terminal, plain lines in a pipe. Writes nothing else and never asks anything.

/** `1.4 s` below ten seconds, `16 s` above. */
export function seconds(milliseconds) {
  const value = milliseconds / 1000;
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} s`;
}

/** Progress on `stream`; see progress.d.mts. */
export function createProgress(stream) {
  const live = stream.isTTY === true && process.env.TERM !== "dumb";
  const colour = live && process.env.NO_COLOR === undefined;
  const paint = (code, text) => (colour ? `\x1b[${code}m${text}\x1b[0m` : text);
  const marks = { done: paint("32", "✓"), fail: paint("31", "✗"), note: paint("33", "!") };
  const write = (mark, text) => stream.write(`${mark} ${text}\n`);

  return {
    line: (text) => void stream.write(`${text}\n`),
    done: (text) => void write(marks.done, text),
    note: (text) => void write(marks.note, text),
    dim: (text) => paint("2", text),
    bold: (text) => paint("1", text),
    failure(text, hint, output = "") {
      const last = output.trimEnd().split("\n").slice(-25);
      if (output.trim() !== "") stream.write(`\n${last.map((line) => `  | ${line}`).join("\n")}\n`);
      stream.write(`\n${marks.fail} ${text}\n`);
      if (hint) stream.write(`  ${hint}\n`);
    },
    step(text, { quietFor = 0 } = {}) {
      const started = performance.now();
      let current = text;
      let timer;
      let shown = false;
      const draw = () => {
        shown = true;
        if (live) stream.write(`\r\x1b[2K${paint("36", "…")} ${current} ${paint("2", seconds(performance.now() - started))}`);
        else stream.write(`… ${current}\n`);
      };
      const delay = setTimeout(() => {
        draw();
        if (live) timer = setInterval(draw, 200);
      }, quietFor);
      const end = () => {
        clearTimeout(delay);
        clearInterval(timer);
        if (live && shown) stream.write("\r\x1b[2K");
      };
      if (quietFor === 0) {
        clearTimeout(delay);
        draw();
        if (live) timer = setInterval(draw, 200);
      }
      return {
        update(next) {
          if (next === current) return;
          current = next;
          if (shown) draw();
        },
        drop: end,
        done(result) {
          end();
          write(marks.done, result);
        },
        fail(result) {
          end();
          write(marks.fail, result);
        },
      };
    },
  };
}
