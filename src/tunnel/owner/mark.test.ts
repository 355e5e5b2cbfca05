import { expect, it } from 'vitest';
import { ALIAS_MAX, markText, readMark } from './mark.ts';

it('says who keeps a link, in as much as a link can say', () => {
  const mark = { owner: { pid: 4_194_304, startTicks: Number.MAX_SAFE_INTEGER }, fwMark: 0xffffffff };
  expect(markText(mark).length).toBeLessThanOrEqual(ALIAS_MAX);
  expect(readMark(markText(mark))).toEqual(mark);
  for (const alias of ['', 'uplink', `${markText(mark)} `, 'culvert tunnel 2 pid 1 start 1 fwmark 1']) {
    expect(readMark(alias)).toBeUndefined();
  }
});
