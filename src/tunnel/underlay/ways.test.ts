import { expect, it } from 'vitest';
import { parseIp } from '../../addr/ip.ts';
import { parseIpInterface } from '../../addr/ip-prefix.ts';
import { atLeast, sizeIn, type WayOut, WayWatch, wayText, widest } from './ways.ts';

const ENDPOINT = parseIp('203.0.113.1');
const OTHER = parseIp('2001:db8::1');
const eth0: WayOut = {
  link: { name: 'eth0', index: 2 },
  via: parseIp('192.0.2.1'),
  source: parseIp('192.0.2.2'),
  table: 254,
  room: 1500,
};
const over = (way: Partial<WayOut>): ReadonlyMap<typeof ENDPOINT, WayOut> => new Map([[ENDPOINT, { ...eth0, ...way }]]);

it('tells of another next hop, link or source, and of no other size', () => {
  const watch = new WayWatch([ENDPOINT], over({}));
  expect(watch.look([ENDPOINT], over({}))).toEqual([]);
  expect(watch.look([ENDPOINT], over({ room: 1300, mtu: 1300 }))).toEqual([]);
  for (const change of [
    { via: parseIp('192.0.2.9') },
    { link: { name: 'wlan0', index: 3 } },
    { link: { name: 'wlan0', index: 4 } },
    { source: parseIp('192.0.2.3') },
  ]) {
    expect(watch.look([ENDPOINT], over(change))).toEqual([ENDPOINT]);
    expect(watch.look([ENDPOINT], over(change))).toEqual([]);
  }
});

it('waits for a way that is gone, and tells of the one that comes, the same one too', () => {
  const watch = new WayWatch([ENDPOINT], over({}));
  expect(watch.look([ENDPOINT], new Map())).toEqual([]);
  expect(watch.look([ENDPOINT], new Map())).toEqual([]);
  expect(watch.look([ENDPOINT], over({}))).toEqual([ENDPOINT]);
  // one that is new was never reached otherwise
  expect(watch.look([ENDPOINT, OTHER], new Map([...over({}), [OTHER, eth0]]))).toEqual([]);
});

it('has the room of the widest way, and never less than a tunnel needs', () => {
  expect(widest(new Map())).toBeUndefined();
  expect(widest(new Map([...over({ room: 1400 }), [OTHER, eth0]]))).toBe(1500);
  const [four, six] = ['10.9.0.2/24', 'fd09::2/64'].map((text) => [parseIpInterface(text)]);
  expect(sizeIn(1500, six ?? [])).toBe(1420);
  expect(sizeIn(1300, six ?? [])).toBe(1280);
  expect(sizeIn(1300, four ?? [])).toBe(1220);
  expect(atLeast(100, four ?? [])).toBe(576);
  expect(wayText(eth0)).toBe('via 192.0.2.1 dev eth0 src 192.0.2.2');
});
