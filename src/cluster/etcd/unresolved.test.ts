import { expect, it } from 'vitest';
import { EtcdRegistry } from './registry.ts';
import { unresolved } from './unresolved.ts';

it('names each host that has no address, once', async () => {
  expect(await unresolved(['127.0.0.1:2379', 'localhost:2379'])).toBeUndefined();
  const found = await unresolved(['127.0.0.1:1', 'one.invalid:1', 'one.invalid:2', 'two.invalid:1']);
  expect(found).toMatch(/^one\.invalid does not resolve: [^,]+, two\.invalid does not resolve: [^,]+$/);
});

it('is why a registry is away', async () => {
  await using registry = new EtcdRegistry({ endpoints: ['etcd.invalid:2379'], namespace: 'a/' });
  await expect(registry.get('b')).rejects.toMatchObject({
    code: 'registry_unavailable',
    message: expect.stringMatching(
      /^Cannot read b in the registry etcd:\/\/etcd\.invalid:2379\/a\/: etcd\.invalid does not resolve: /,
    ),
  });
});
