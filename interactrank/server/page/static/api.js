// What the page asks the server.

async function answer(response) {
  const type = response.headers.get("content-type") ?? "";
  const body = type.includes("json") ? await response.json() : {};
  if (response.ok) return body;
  const error = new Error(body.error?.message ?? `The server answered ${response.status}.`);
  error.status = response.status;
  throw error;
}

export async function get(path, parameters = {}, signal = undefined) {
  const given = Object.entries(parameters).filter(([, value]) => value);
  return answer(await fetch(`${path}?${new URLSearchParams(given)}`, { signal }));
}

export async function post(path, body, headers = {}) {
  return answer(
    await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json", ...headers },
      body: JSON.stringify(body),
    }),
  );
}
