// SPDX-License-Identifier: Apache-2.0
//
// How the command answers: tables for people, JSON for programs. A table is filled once and printed either way.
//
//   Table t({{"name", "NAME"}, {"status", "STATUS"}});
//   t.row({"cpu", good("found")});
//   t.print(context);
#ifndef TENGEN_TOOLS_OUTPUT_H_
#define TENGEN_TOOLS_OUTPUT_H_

#include <string>
#include <utility>
#include <vector>

namespace tg::cli {

// Exit codes of every subcommand.
constexpr int kOk = 0;        // there is an answer, and it is yes or something
constexpr int kNone = 1;      // there is an answer, and it is no or nothing
constexpr int kUsage = 2;     // the question was wrong
constexpr int kInternal = 3;  // the answer could not be found out

struct Context {
  bool json = false;
  bool color = false;
  int width = 0;  // of the terminal; 0: not a terminal, lines are as long as they are

  // A terminal gets colours (unless NO_COLOR or TERM=dumb say no) and lines of its width; a pipe neither.
  static Context detect(bool json);
};

std::string json_text(const std::string& s);  // quoted
std::string json_list(const std::vector<std::string>& words);
// {"a": 1} out of names and values that are JSON already
std::string json_object(const std::vector<std::pair<std::string, std::string>>& fields);

enum class Style { kPlain, kGood, kBad, kWarn, kDim, kBold };

struct Cell {
  std::string text;
  Style style = Style::kPlain;
  std::string json;  // the value in JSON; "": `text` as a string
  Cell(std::string t, Style s = Style::kPlain, std::string j = "") : text(std::move(t)), style(s), json(std::move(j)) {}
  Cell(const char* t) : text(t) {}
};
Cell good(std::string text);
Cell bad(std::string text);
Cell warn(std::string text);
Cell dim(std::string text);
Cell number(long long value);                      // right-aligned
Cell words(const std::vector<std::string>& list);  // "a, b"; in JSON an array

struct Column {
  std::string key;     // in JSON
  std::string header;  // "": in JSON only
};

class Table {
 public:
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  void row(std::vector<Cell> cells);
  bool empty() const { return rows_.empty(); }
  size_t size() const { return rows_.size(); }
  std::string json() const;                  // an array of objects
  std::string text(const Context& c) const;  // the last column is wrapped to the terminal's width
  void print(const Context& c) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<Cell>> rows_;
};

std::string paint(const Context& c, Style style, const std::string& text);
// A paragraph at the terminal's width, later lines indented.
std::string wrap(const Context& c, const std::string& text, size_t indent);
std::string bytes_text(unsigned long long bytes);  // "15.6 GiB"

}  // namespace tg::cli
#endif  // TENGEN_TOOLS_OUTPUT_H_
