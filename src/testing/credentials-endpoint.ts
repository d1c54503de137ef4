/**
 * What hands out credentials where a server runs, as far as the SDK asks for it: the endpoint of a container (ECS, EKS Pod
 * Identity), and the STS that takes a web identity (IRSA).
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import { cleanUp } from './clean-up.ts';
import type { S3TestKey, S3TestSession } from './s3-server.ts';

export interface CredentialsEndpoint {
  readonly url: string;
  /** How often credentials were asked for. */
  asked(): number;
  /** What each was asked with: the form of an AssumeRoleWithWebIdentity. */
  readonly forms: readonly URLSearchParams[];
  /** From now on these. null: it answers 500. */
  give(credentials: S3TestKey | S3TestSession | null): void;
}

export async function startCredentialsEndpoint(t: TestContext, first: S3TestKey): Promise<CredentialsEndpoint> {
  let given: S3TestKey | S3TestSession | null = first;
  let asked = 0;
  const forms: URLSearchParams[] = [];
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const piece of request.setEncoding('utf8')) body += piece;
    asked += 1;
    if (given === null) return void response.writeHead(500).end();
    // What is none of a session is good for long.
    const {
      accessKey,
      secretKey,
      sessionToken = '',
      expiration = '2099-01-01T00:00:00Z',
    } = given as Partial<S3TestSession>;
    if (request.method === 'POST') {
      forms.push(new URLSearchParams(body));
      return void response.setHeader('content-type', 'text/xml').end(assumed(given as S3TestSession));
    }
    const credentials = {
      AccessKeyId: accessKey,
      SecretAccessKey: secretKey,
      Token: sessionToken,
      Expiration: expiration,
    };
    response.setHeader('content-type', 'application/json').end(JSON.stringify(credentials));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanUp(t, () => {
    server.closeAllConnections();
    server.close();
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked: () => asked,
    forms,
    give(credentials) {
      given = credentials;
    },
  };
}

const assumed = (o: S3TestSession): string => `<AssumeRoleWithWebIdentityResponse
  xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><Credentials>
  <AccessKeyId>${o.accessKey}</AccessKeyId><SecretAccessKey>${o.secretKey}</SecretAccessKey>
  <SessionToken>${o.sessionToken}</SessionToken><Expiration>${o.expiration}</Expiration></Credentials>
  <AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/mail/ingest</Arn><AssumedRoleId>X:ingest</AssumedRoleId>
  </AssumedRoleUser></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`;
