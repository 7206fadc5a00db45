// SPDX-License-Identifier: Apache-2.0
// Tables, colours and JSON of the command.
#include "output.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace tg::cli {
namespace {

// Characters, not bytes; every character is taken to be one column wide.
size_t width_of(const std::string& s) {
  return size_t(
      std::count_if(s.begin(), s.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

bool is_number(const Cell& c) {
  return !c.json.empty() && c.json == c.text && c.text.find_first_not_of("-0123456789") == std::string::npos;
}

// Lines of at most `width` characters, broken at spaces where there are any.
std::vector<std::string> lines_of(const std::string& text, size_t width) {
  std::vector<std::string> out;
  std::string line;
  size_t at = 0;
  while (at < text.size()) {
    size_t end = text.find(' ', at);
    if (end == std::string::npos) end = text.size();
    const std::string word = text.substr(at, end - at);
    if (!line.empty() && width_of(line) + 1 + width_of(word) > width) {
      out.push_back(line);
      line.clear();
    }
    line += (line.empty() ? "" : " ") + word;
    at = end + 1;
  }
  if (!line.empty() || out.empty()) out.push_back(line);
  return out;
}

}  // namespace

Context Context::detect(bool json) {
  Context c;
  c.json = json;
  if (!isatty(STDOUT_FILENO)) return c;
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0) c.width = size.ws_col;
  if (const char* columns = std::getenv("COLUMNS"); columns && std::atoi(columns) > 0) c.width = std::atoi(columns);
  if (c.width == 0) c.width = 80;
  const char *no_color = std::getenv("NO_COLOR"), *term = std::getenv("TERM");
  c.color = !json && !(no_color && *no_color) && !(term && std::string(term) == "dumb");
  return c;
}

std::string json_text(const std::string& s) {
  std::string out = "\"";
  for (unsigned char c : s) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += char(c);
    } else if (c < 0x20) {
      char buffer[8];
      std::snprintf(buffer, sizeof buffer, "\\u%04x", c);
      out += buffer;
    } else {
      out += char(c);
    }
  }
  return out + "\"";
}

std::string json_list(const std::vector<std::string>& list) {
  std::string out = "[";
  for (const auto& word : list) out += (out.size() > 1 ? ", " : "") + json_text(word);
  return out + "]";
}

std::string json_object(const std::vector<std::pair<std::string, std::string>>& fields) {
  std::string out = "{";
  for (const auto& [key, value] : fields) out += (out.size() > 1 ? ", " : "") + json_text(key) + ": " + value;
  return out + "}";
}

Cell good(std::string text) { return {std::move(text), Style::kGood}; }
Cell bad(std::string text) { return {std::move(text), Style::kBad}; }
Cell warn(std::string text) { return {std::move(text), Style::kWarn}; }
Cell dim(std::string text) { return {std::move(text), Style::kDim}; }
Cell number(long long value) { return {std::to_string(value), Style::kPlain, std::to_string(value)}; }
Cell words(const std::vector<std::string>& list) {
  std::string text;
  for (const auto& w : list) text += (text.empty() ? "" : ", ") + w;
  return {text, Style::kPlain, json_list(list)};
}

void Table::row(std::vector<Cell> cells) {
  cells.resize(columns_.size(), Cell(""));
  rows_.push_back(std::move(cells));
}

std::string Table::json() const {
  std::string out = "[";
  for (const auto& row : rows_) {
    std::vector<std::pair<std::string, std::string>> fields;
    for (size_t i = 0; i < columns_.size(); ++i)
      fields.emplace_back(columns_[i].key, row[i].json.empty() ? json_text(row[i].text) : row[i].json);
    out += (out.size() > 1 ? ",\n " : "") + json_object(fields);
  }
  return out + "]";
}

std::string Table::text(const Context& c) const {
  std::vector<size_t> shown, widths;
  for (size_t i = 0; i < columns_.size(); ++i) {
    if (columns_[i].header.empty()) continue;
    size_t width = width_of(columns_[i].header);
    for (const auto& row : rows_) width = std::max(width, width_of(row[i].text));
    shown.push_back(i);
    widths.push_back(width);
  }
  if (shown.empty()) return "";
  size_t before_last = 0;
  for (size_t k = 0; k + 1 < widths.size(); ++k) before_last += widths[k] + 2;
  // Too little room beside the others: the last column goes below, indented.
  const bool below = c.width && before_last + 24 > size_t(c.width);
  const size_t indent = below ? 4 : before_last;
  const size_t room =
      c.width ? std::max<size_t>(size_t(c.width) > indent ? size_t(c.width) - indent : 0, 16) : size_t(-1);

  std::string out;
  const auto line = [&](const std::vector<Cell>& cells) {
    std::string text;
    for (size_t k = 0; k + 1 < shown.size(); ++k) {
      const Cell& cell = cells[shown[k]];
      const std::string pad(widths[k] - width_of(cell.text), ' ');
      text += is_number(cell) ? pad + paint(c, cell.style, cell.text) : paint(c, cell.style, cell.text) + pad;
      text += "  ";
    }
    const Cell& last = cells[shown.back()];
    std::vector<std::string> pieces = lines_of(last.text, room);
    if (!c.width) pieces = {last.text};
    if (is_number(last) && !below) pieces = {std::string(widths.back() - width_of(last.text), ' ') + last.text};
    for (size_t i = 0; i < pieces.size(); ++i) {
      if (pieces[i].empty()) continue;
      if (i || below) text += "\n" + std::string(indent, ' ');
      text += paint(c, last.style, pieces[i]);
    }
    while (!text.empty() && text.back() == ' ') text.pop_back();
    out += text + "\n";
  };
  std::vector<Cell> header;
  for (const auto& column : columns_) header.emplace_back(column.header, Style::kBold);
  line(header);
  for (const auto& row : rows_) line(row);
  return out;
}

void Table::print(const Context& c) const { std::fputs((c.json ? json() + "\n" : text(c)).c_str(), stdout); }

std::string paint(const Context& c, Style style, const std::string& text) {
  if (!c.color || style == Style::kPlain || text.empty()) return text;
  const char* code = style == Style::kGood   ? "32"
                     : style == Style::kBad  ? "31"
                     : style == Style::kWarn ? "33"
                     : style == Style::kDim  ? "2"
                                             : "1";
  return std::string("\033[") + code + "m" + text + "\033[0m";
}

std::string wrap(const Context& c, const std::string& text, size_t indent) {
  if (!c.width) return text;
  std::string out;
  for (const auto& piece : lines_of(text, std::max<size_t>(size_t(c.width), indent + 16) - indent))
    out += (out.empty() ? "" : "\n" + std::string(indent, ' ')) + piece;
  return out;
}

std::string bytes_text(unsigned long long bytes) {
  const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  double value = double(bytes);
  int unit = 0;
  while (value >= 1024 && unit < 5) value /= 1024, ++unit;
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
  return buffer;
}

}  // namespace tg::cli
