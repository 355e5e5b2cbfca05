import { readFileSync } from 'node:fs';

/*
 * Loaded into a daemon before itself: its wall clock goes wrong by as many milliseconds as the file CLOCK_OFFSET says, and
 * jumps when that is written anew. No other clock does.
 */

const file = process.env['CLOCK_OFFSET'];
if (file === undefined) throw new Error('Which file says by how much the clock is wrong?');

const trueNow = Date.now.bind(Date);

function wrongNow(): number {
  return trueNow() + Number(readFileSync(file as string, 'utf8'));
}

globalThis.Date = new Proxy(Date, {
  construct: (target, parameters: [], wanted) =>
    Reflect.construct(target, parameters.length === 0 ? [wrongNow()] : parameters, wanted) as object,
  get: (target, name): unknown => (name === 'now' ? wrongNow : Reflect.get(target, name)),
});
