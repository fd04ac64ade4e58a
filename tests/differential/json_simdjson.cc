/* tests/differential/json_simdjson.cc - the only C++ in the tree: simdjson has no other door. */
#include "json_other.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <simdjson.h>
#include <string>

using namespace simdjson;

static void meaning_of(dom::element element, std::string &out)
{
    char number[40];

    switch (element.type()) {
    case dom::element_type::OBJECT:
        out += '{';
        for (dom::key_value_pair field : dom::object(element)) {
            out += 's' + std::to_string(field.key.size()) + ':' + std::string(field.key);
            meaning_of(field.value, out);
        }
        out += '}';
        break;
    case dom::element_type::ARRAY:
        out += '[';
        for (dom::element child : dom::array(element))
            meaning_of(child, out);
        out += ']';
        break;
    case dom::element_type::STRING: {
        std::string_view text = element;

        out += 's' + std::to_string(text.size()) + ':' + std::string(text);
        break;
    }
    case dom::element_type::INT64:
        snprintf(number, sizeof number, "i%lld;", (long long)int64_t(element));
        out += number;
        break;
    case dom::element_type::UINT64:
        snprintf(number, sizeof number, "d%.17g;", (double)uint64_t(element));
        out += number;
        break;
    case dom::element_type::DOUBLE:
        snprintf(number, sizeof number, "d%.17g;", double(element));
        out += number;
        break;
    case dom::element_type::BOOL: out += bool(element) ? 't' : 'f'; break;
    default: out += 'n'; break;
    }
}

extern "C" char *json_simdjson_meaning(const char *text, size_t bytes, size_t *bytes_out)
{
    static dom::parser parser;
    dom::element       element;
    std::string        out;
    char              *copy;

    if (parser.parse(padded_string(text, bytes)).get(element) != SUCCESS)
        return NULL;
    meaning_of(element, out);
    copy = static_cast<char *>(malloc(out.size() + 1));
    if (copy == NULL)
        abort();
    memcpy(copy, out.data(), out.size());
    *bytes_out = out.size();
    return copy;
}

static bool walk(ondemand::value value)
{
    ondemand::json_type type;
    std::string_view    text;
    ondemand::number    number;

    if (value.type().get(type) != SUCCESS)
        return false;
    switch (type) {
    case ondemand::json_type::object: {
        ondemand::object object;

        if (value.get_object().get(object) != SUCCESS)
            return false;
        for (auto field : object) {
            ondemand::value child;

            if (field.value().get(child) != SUCCESS || !walk(child))
                return false;
        }
        return true;
    }
    case ondemand::json_type::array: {
        ondemand::array array;

        if (value.get_array().get(array) != SUCCESS)
            return false;
        for (auto element : array) {
            ondemand::value child;

            if (element.get(child) != SUCCESS || !walk(child))
                return false;
        }
        return true;
    }
    case ondemand::json_type::string: return value.get_string().get(text) == SUCCESS;
    case ondemand::json_type::number: return value.get_number().get(number) == SUCCESS;
    default: {
        bool boolean;

        return value.is_null() || value.get_bool().get(boolean) == SUCCESS;
    }
    }
}

extern "C" int json_simdjson_walk(const char *text, size_t bytes, size_t room)
{
    static ondemand::parser parser;
    ondemand::document      document;
    ondemand::value         value;

    if (parser.iterate(text, bytes, room).get(document) != SUCCESS || document.get_value().get(value) != SUCCESS)
        return false;
    return walk(value);
}
