// What a page just asked for, as a person would write it.

const shell = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

export function asCurl(body) {
  return [
    `curl ${location.origin}/v1/images/generations \\`,
    '  -H "Authorization: Bearer $SPINDLE_API_KEY" -H "Content-Type: application/json" \\',
    `  -d ${shell(JSON.stringify(body, null, 2))}`,
  ].join("\n");
}

const python = (value) => typeof value === "string" ? JSON.stringify(value) : Array.isArray(value) ? `[${value.map(python).join(", ")}]` : String(value);

/** OpenAI's own client reads what it knows; our fields go in extra_body. */
export function asPython(body) {
  const known = ["model", "prompt", "n", "size"];
  const named = Object.entries(body).filter(([name]) => known.includes(name)).map(([name, value]) => `    ${name}=${python(value)},`);
  const more = Object.entries(body).filter(([name]) => !known.includes(name)).map(([name, value]) => `"${name}": ${python(value)}`);
  return [
    "import base64, os",
    "from openai import OpenAI",
    "",
    `client = OpenAI(base_url="${location.origin}/v1", api_key=os.environ["SPINDLE_API_KEY"])`,
    "answer = client.images.generate(",
    ...named,
    '    response_format="b64_json",',
    `    extra_body={${more.join(", ")}},`,
    ")",
    "for index, picture in enumerate(answer.data):",
    '    with open(f"picture-{index}.png", "wb") as file:',
    "        file.write(base64.b64decode(picture.b64_json))",
  ].join("\n");
}
