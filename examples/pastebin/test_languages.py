"""Ordinary snippets, whose languages are guessed without the name of a file."""

import pytest

import languages

SNIPPETS = {
    "python": """
def area(width, height):
    return width * height


class Shape:
    def __init__(self, name):
        self.name = name
""",
    "javascript": """
const total = items.reduce((sum, item) => sum + item.price, 0);
document.querySelector("#total").textContent = total;
""",
    "c": """
#include <stdio.h>

int main(void) {
    printf("Hello\\n");
    return 0;
}
""",
    "sql": """
SELECT name, count(*) AS orders
FROM customers JOIN orders ON orders.customer_id = customers.id
WHERE orders.created > '2026-01-01'
GROUP BY name;
""",
    "css": """
.card > a:hover {
  color: #0b57a4;
  margin: 0 auto;
}
""",
    "yaml": """
services:
  web:
    image: nginx:1.27
    ports:
      - "80:80"
""",
    "bash": """
for file in *.txt; do
  echo "$file"
  wc -l "$file" | sort -n
done
""",
    "rust": """
fn largest(list: &[i32]) -> i32 {
    let mut best = list[0];
    for &item in list {
        if item > best { best = item; }
    }
    best
}
""",
    "go": """
func (s *Server) Start(port int) error {
	listener, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
	if err != nil {
		return err
	}
	return s.serve(listener)
}
""",
    "java": """
public class Greeter {
    private final String name;

    public Greeter(String name) {
        this.name = name;
    }
}
""",
    "markdown": """
# Plum pie

A pie for **four**. You need:

- plums
- butter, see [the list](list.md)
""",
    "html": """
<ul class="menu">
  <li><a href="/">Home</a></li>
  <li><a href="/about">About</a></li>
</ul>
""",
    "json": '{"name": "pie", "pieces": [1, 2, 3], "vegan": false}',
    "toml": """
[project]
name = "pie"
version = "1.0"
dependencies = ["flour>=2"]
""",
    "ini": """
[server]
host = localhost
port = 8080
; the rest is optional
log_file = /var/log/server.log
""",
    "text": "Dear Ada,\n\n17 is prime: I have tried it.\nFrom here, it is easy.\n",
}


@pytest.mark.parametrize("language", SNIPPETS)
def test_snippet_is_guessed(language: str) -> None:
    assert languages.guess(SNIPPETS[language].lstrip()) == language


@pytest.mark.parametrize(
    ("title", "text", "language"),
    [
        ("hello.rs", "import os\n", "rust"),
        ("notes.unknown", "#!/usr/bin/env python3\n", "python"),
        ("", "--- a\n+++ b\n@@ -1 +1 @@\n-a\n+b\n", "diff"),
        ("", "[" * 100_000, "text"),
        ("", "17", "text"),
    ],
)
def test_name_and_signs_decide(title: str, text: str, language: str) -> None:
    assert languages.guess(text, title) == language
