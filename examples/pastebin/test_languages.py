"""Ordinary snippets, whose languages are guessed without the name of a file."""

import pytest

from languages import guess

SNIPPETS = r"""
== python
def area(width, height):
    return width * height
== python
class Shape:
    def __init__(self, name):
        self.name = name
== javascript
const total = items.reduce((sum, item) => sum + item.price, 0);
document.querySelector("#total").textContent = total;
== c
#include <stdio.h>
int main(void) { printf("Hello\n"); }
== sql
SELECT name, count(*) FROM customers
JOIN orders ON orders.customer_id = customers.id
== css
.card > a:hover {
  color: #0b57a4;
}
== yaml
web:
  image: nginx:1.27
  ports:
    - "80:80"
== bash
for file in *.txt; do
  wc -l "$file" | sort -n
done
== rust
fn first(list: &[i32]) -> i32 {
    let first = list[0];
    first
}
== go
func Half(n int) (int, error) {
	if n == 1 {
		return 0, errors.New("odd")
	}
== java
public class Greeter {
    private final String name;
    public Greeter(String name) { this.name = name; }
}
== markdown
# Plum pie

A pie for **four**. You need plums, and:

- butter, see [the list](list.md)
== html
<ul class="menu">
  <li><a href="/about">About</a></li>
</ul>
== json
{"name": "pie", "pieces": [1, 2, 3], "vegan": false}
== toml
[project]
name = "pie"
== ini
[server]
host = localhost
port = 8080
== text
Dear Ada, 17 is prime: I have tried it.
From here, it is easy.
"""


@pytest.mark.parametrize("snippet", SNIPPETS.split("\n== ")[1:])
def test_snippet_is_guessed(snippet: str) -> None:
    language, _, text = snippet.partition("\n")
    assert guess(text) == language


def test_name_and_signs_decide() -> None:
    assert guess("import os\n", "hello.rs") == "rust"
    assert guess("#!/usr/bin/env python3\n", "notes.unknown") == "python"
    assert guess("--- a\n+++ b\n@@ -1 +1 @@\n-a\n+b\n") == "diff"
