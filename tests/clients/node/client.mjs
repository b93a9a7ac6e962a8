// A program a customer could have written: Microsoft's JavaScript clients, nothing of this project.
// Usage: node client.mjs READY.json — prints what each client saw as one JSON object.
import { readFileSync } from "node:fs";
import { ClientSecretCredential } from "@azure/identity";
import { ConfidentialClientApplication, PublicClientApplication } from "@azure/msal-node";
import { HttpMethod, RequestInformation } from "@microsoft/kiota-abstractions";
import { GraphBetaRequestAdapter } from "@microsoft/msgraph-beta-sdk";
import {
  createDeviceConfigurationCollectionResponseFromDiscriminatorValue,
  createUserPFXCertificateCollectionResponseFromDiscriminatorValue,
  createUserPFXCertificateFromDiscriminatorValue,
  serializeUserPFXCertificate,
} from "@microsoft/msgraph-beta-sdk/models/index.js";
import { createODataErrorFromDiscriminatorValue } from "@microsoft/msgraph-beta-sdk/models/oDataErrors/index.js";
import { GraphAzureIdentityAuthenticationProvider, PageIterator as TypedPageIterator } from "@microsoft/msgraph-sdk-core";
import { BatchRequestContent, Client, PageIterator } from "@microsoft/microsoft-graph-client";

const facts = JSON.parse(readFileSync(process.argv[2], "utf8"));
const scopes = ["https://graph.microsoft.com/.default"];
const host = new URL(facts.graph_url).host;
const auth = (clientId, more) => ({ auth: { clientId, authority: facts.authority_url, knownAuthorities: [host], ...more } });
const claims = (token) => JSON.parse(Buffer.from(token.split(".")[1], "base64url").toString());
const said = {};

const confidential = new ConfidentialClientApplication(auth(facts.application.client_id, { clientSecret: facts.application.client_secret }));
const app = await confidential.acquireTokenByClientCredential({ scopes });
said.msal_secret = claims(app.accessToken).idtyp;

const open = new PublicClientApplication(auth(facts.public_application.client_id));
const person = await open.acquireTokenByUsernamePassword({ scopes, username: facts.mail_user.upn, password: facts.mail_user.password });
said.msal_password = [claims(person.accessToken).upn, person.account.username];
const device = await open.acquireTokenByDeviceCode({ scopes, deviceCodeCallback: (code) => { said.device_message = code.message.includes(code.userCode); } });
said.msal_device = claims(device.accessToken).upn;
const silent = await open.acquireTokenSilent({ scopes, account: device.account, forceRefresh: true });
said.msal_refresh = claims(silent.accessToken).upn;
try {
  await new ConfidentialClientApplication(auth(facts.application.client_id, { clientSecret: "wrong" })).acquireTokenByClientCredential({ scopes });
} catch (error) {
  said.msal_refused = [error.errorCode, String(error.errorNo)];
}

const credential = new ClientSecretCredential(facts.tenant_id, facts.application.client_id, facts.application.client_secret, {
  authorityHost: facts.graph_url,
  disableInstanceDiscovery: true,
});
const token = await credential.getToken(scopes[0]);
said.identity = claims(token.token).idtyp;

const client = Client.initWithMiddleware({
  baseUrl: facts.graph_url + "/",
  defaultVersion: "beta",
  customHosts: new Set(["localhost"]),
  authProvider: { getAccessToken: async () => token.token },
});
const path = "/deviceManagement/userPfxCertificates";
const record = (number) => ({
  thumbprint: String(number).padStart(40, "0"),
  intendedPurpose: "smimeEncryption",
  userPrincipalName: facts.mail_user.upn,
  startDateTime: new Date(Date.UTC(2026, 0, 1)).toISOString(),
  expirationDateTime: new Date(Date.UTC(2029, 0, 1)).toISOString(),
  providerName: "Microsoft Software Key Storage Provider",
  keyName: "KeyA",
  paddingScheme: "oaepSha512",
  encryptedPfxBlob: Buffer.from("0pfx").toString("base64"),
  encryptedPfxPassword: Buffer.alloc(256, 1).toString("base64"),
});
const made = [];
for (const number of [1, 2, 3]) made.push(await client.api(path).post(record(number)));
said.created = [made[0].intendedPurpose, made[0].encryptedPfxBlob];
const seen = [];
const iterator = new PageIterator(client, await client.api(path).get(), (item) => { seen.push(item.thumbprint); return true; });
await iterator.iterate();
said.paged = seen.length;
const filtered = await client.api(path).filter(`tolower(userPrincipalName) eq '${facts.mail_user.upn}' and thumbprint eq '${record(2).thumbprint}'`).get();
said.filtered = filtered.value.length;
await client.api(`${path}/${made[0].id}`).patch({ keyName: "KeyB" });
said.patched = (await client.api(`${path}('${made[0].id}')`).get()).keyName;
const members = `/groups/${facts.group_id}/transitiveMembers`;
const users = await client.api(`${members}/graph.user`).select("userPrincipalName").top(999).get();
const counted = await client.api(`${members}/microsoft.graph.user/$count`).header("ConsistencyLevel", "eventual").get();
said.members = [users.value.map((user) => user.userPrincipalName), Number(counted)];
const batch = new BatchRequestContent([
  { id: "1", request: new Request(`${facts.graph_url}${path}/${made[1].id}`, { method: "DELETE" }) },
  { id: "2", request: new Request(`${facts.graph_url}${path}/$count`), dependsOn: ["1"] },
]);
const answered = await client.api("/$batch").post(await batch.getContent());
said.batch = answered.responses.map((response) => [response.id, response.status, response.body ?? null]);
await client.api(`${path}/${made[0].id}`).delete();
try {
  await client.api(`${path}/${made[0].id}`).get();
} catch (error) {
  said.unknown = [error.statusCode, error.code, typeof error.requestId];
}

// The TypeScript SDK brings models and an adapter, but no paths for device management: they are written out.
const adapter = new GraphBetaRequestAdapter(new GraphAzureIdentityAuthenticationProvider(credential, scopes, undefined, new Set(["localhost"])));
adapter.baseUrl = facts.graph_url + "/beta";
const errors = { XXX: createODataErrorFromDiscriminatorValue };
const information = (method, template, parameters = {}) => new RequestInformation(method, `{+baseurl}${template}`, { baseurl: adapter.baseUrl, ...parameters });
const certificate = { ...record(9), startDateTime: new Date(Date.UTC(2026, 0, 1)), expirationDateTime: new Date(Date.UTC(2029, 0, 1)),
  encryptedPfxBlob: new Uint8Array([0x30, 1, 2]).buffer };
const posting = information(HttpMethod.POST, path);
posting.setContentFromParsable(adapter, "application/json", certificate, serializeUserPFXCertificate);
const typed = await adapter.send(posting, createUserPFXCertificateFromDiscriminatorValue, errors);
said.typed = [typed.intendedPurpose, typed.paddingScheme, typed.startDateTime.toISOString(), new Uint8Array(typed.encryptedPfxBlob).length];
for (const number of [10, 11]) await client.api(path).post(record(number));
const firstPage = await adapter.send(information(HttpMethod.GET, path), createUserPFXCertificateCollectionResponseFromDiscriminatorValue, errors);
const walked = [];
const walker = new TypedPageIterator(adapter, firstPage, (item) => { walked.push(item.thumbprint); return true; }, createUserPFXCertificateCollectionResponseFromDiscriminatorValue, errors);
await walker.iterate();
said.walked = walked.length;
await client.api("/deviceManagement/deviceConfigurations").post({ "@odata.type": "#microsoft.graph.windows10ImportedPFXCertificateProfile", displayName: "TS", intendedPurpose: "smimeSigning", keyStorageProvider: "useSoftwareKsp" });
const profiles = await adapter.send(information(HttpMethod.GET, "/deviceManagement/deviceConfigurations"), createDeviceConfigurationCollectionResponseFromDiscriminatorValue, errors);
said.profile = [profiles.value[0].odataType, profiles.value[0].keyStorageProvider];
try {
  await adapter.send(information(HttpMethod.GET, `${path}/{key}`, { key: "nothing" }), createUserPFXCertificateFromDiscriminatorValue, errors);
} catch (error) {
  said.typed_unknown = [error.responseStatusCode, error.errorEscaped.code, error.errorEscaped.innerError.requestId.length];
}
console.log(JSON.stringify(said));
