package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"text/template"
)

// report fills the template that is named in with results, "NAME VALUE" lines on standard input. A
// name that no result has is an error: the document holds no number that was not measured.
func report(arguments []string) error {
	if len(arguments) != 1 {
		return fmt.Errorf("usage: bench report TEMPLATE <RESULTS")
	}
	results := map[string]string{}
	scanner := bufio.NewScanner(os.Stdin)
	for scanner.Scan() {
		name, value, _ := strings.Cut(scanner.Text(), " ")
		results[name] = value
	}
	text := func(name string) (string, error) {
		value, ok := results[name]
		if !ok {
			return "", fmt.Errorf("there is no result %q", name)
		}
		return value, nil
	}
	number := func(name string) (float64, error) {
		value, err := text(name)
		if err != nil {
			return 0, err
		}
		return strconv.ParseFloat(value, 64)
	}
	ratio := func(name, to string) (float64, error) {
		a, err := number(name)
		if err != nil {
			return 0, err
		}
		b, err := number(to)
		return a / b, err
	}
	functions := template.FuncMap{
		"text": text,
		// fixed "NAME" DIGITS
		"fixed": func(name string, digits int) (string, error) {
			value, err := number(name)
			return strconv.FormatFloat(value, 'f', digits, 64), err
		},
		// mib "NAME": KiB as MiB
		"mib": func(name string) (string, error) {
			value, err := number(name)
			return strconv.FormatFloat(value/1024, 'f', 2, 64), err
		},
		// perMinute "NAME" "SECONDS"
		"perMinute": func(name, seconds string) (string, error) {
			value, err := ratio(name, seconds)
			return strconv.FormatFloat(value*60, 'f', 1, 64), err
		},
		"ratio": func(name, to string) (string, error) {
			value, err := ratio(name, to)
			return strconv.FormatFloat(value, 'f', 2, 64), err
		},
		// within VALUE LIMIT: whether a target is reached, and if not, by how much it is missed
		"within": func(value string, limit float64) (string, error) {
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return "", err
			}
			if v <= limit {
				return "reached", nil
			}
			if limit == 0 {
				return "**missed**", nil
			}
			return fmt.Sprintf("**missed** by %.0f %%", (v/limit-1)*100), nil
		},
		"missed": func(value string, limit float64) (bool, error) {
			v, err := strconv.ParseFloat(value, 64)
			return v > limit, err
		},
		// The cold start's floor, if its transactions compared.
		"creates": func() (string, error) {
			floor, err := number("cold.floor.p50")
			if err != nil {
				return "", err
			}
			create, err := number("parts.create125.p50")
			if err != nil {
				return "", err
			}
			put, err := number("parts.put125.p50")
			return strconv.FormatFloat(floor+8*(create-put), 'f', 0, 64), err
		},
		"words": strings.Fields,
		// cell "NAME" DIGITS: a number, or whatever else the result is: a word
		"cell": func(name string, digits int) (string, error) {
			value, err := text(name)
			if n, bad := strconv.ParseFloat(value, 64); bad == nil {
				value = show(n, digits)
			}
			return value, err
		},
		"num": number,
		"add": func(a, b float64) float64 { return a + b },
		"sub": func(a, b float64) float64 { return a - b },
		"mul": func(a, b float64) float64 { return a * b },
		"div": func(a, b float64) float64 { return a / b },
		// The numbers of hosts that capacity is computed for.
		"hosts": func() []float64 { return []float64{100, 1000, 10000} },
		// show VALUE DIGITS: with commas between the thousands
		"show": show,
		// list "NAME": the rows NAME.1, NAME.2, ... as many as there are
		"list": func(name string) (string, error) {
			row, err := text(name + ".1")
			table := row
			for i := 2; err == nil && results[fmt.Sprintf("%s.%d", name, i)] != ""; i++ {
				table += "\n" + results[fmt.Sprintf("%s.%d", name, i)]
			}
			return table, err
		},
		// rows "NAME" LAST: NAME.head and the rows NAME.01 to NAME.LAST of a table
		"rows": func(name string, last int) (string, error) {
			head, err := text(name + ".head")
			columns := strings.Count(head, "|") - 1
			table := head + "\n|" + strings.Repeat(" ---: |", columns)
			for i := 1; i <= last && err == nil; i++ {
				var row string
				row, err = text(fmt.Sprintf("%s.%02d", name, i))
				table += "\n" + row
			}
			return table, err
		},
	}
	name := arguments[0]
	body, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	t, err := template.New(name).Funcs(functions).Parse(string(body))
	if err != nil {
		return err
	}
	return t.Execute(os.Stdout, nil)
}

func show(value float64, digits int) string {
	text := strconv.FormatFloat(value, 'f', digits, 64)
	whole, rest, _ := strings.Cut(text, ".")
	if rest != "" {
		rest = "." + rest
	}
	for i := len(whole) - 3; i > 0 && whole[i-1] != '-'; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	return whole + rest
}
