import { afterEach, beforeEach, expect, it } from 'vitest';
import { LabNamespace } from '../../../lab/namespace.ts';
import { readable } from '../waiting/poll.ts';
import { LinkNews } from './link-news.ts';

let namespace: LabNamespace;

beforeEach(async () => {
  namespace = await LabNamespace.make();
});
afterEach(() => namespace.close());

it('is there when a link comes, changes or goes, and not otherwise', () => {
  using news = namespace.within(() => new LinkNews());
  const isThere = (): boolean => readable([news.fd], 0).size > 0;
  const changes = ['link add b0 type bridge', 'link set b0 mtu 1400', 'link set b0 name b1', 'link delete b1'];
  for (const change of changes) {
    news.take();
    expect(isThere(), `before ${change}`).toBe(false);
    namespace.ip(change);
    expect(isThere(), change).toBe(true);
  }
  news.take();
  namespace.ip('address add 192.0.2.1/32 dev lo');
  expect(isThere()).toBe(false);
});
