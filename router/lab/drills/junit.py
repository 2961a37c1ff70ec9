"""A report as JUnit XML, which every CI reads: a suite for each route, a case for each scenario.

Knows the elements that readers of the format agree on. Times are those of the drill, not of the machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from router.lab.drills.report import Finding, Report, Result

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")  # what XML 1.0 cannot hold


def to_junit(report: Report) -> bytes:
    """*report* as an XML document, UTF-8."""
    suites = ET.Element("testsuites", {"name": _sound(f"router drill {report.file}")})
    _file_suite(suites, report)
    for route in dict.fromkeys(one.route for one in report.scenarios):
        _suite(suites, route, [one for one in report.scenarios if one.route == route], report)
    for name in ("tests", "failures", "skipped"):
        suites.set(name, str(sum(int(suite.get(name, "0")) for suite in suites)))
    ET.indent(suites)
    return bytes(ET.tostring(suites, encoding="utf-8", xml_declaration=True))


def _file_suite(suites: ET.Element, report: Report) -> None:
    """What the file alone says is a case of its own."""
    suite = ET.SubElement(suites, "testsuite", {"name": _sound(report.file)})
    case = ET.SubElement(suite, "testcase", {"classname": _sound(report.file), "name": "routes file"})
    if report.noted:
        _failure(case, report.noted, "finding")
    _count(suite)


def _suite(suites: ET.Element, route: str, results: Iterable[Result], report: Report) -> None:
    suite = ET.SubElement(suites, "testsuite", {"name": _sound(route)})
    short = {id(one) for one in report.short}
    for one in results:
        case = ET.SubElement(suite, "testcase", {"classname": _sound(route), "name": _sound(one.name)})
        case.set("time", f"{one.total or 0.0:.6f}")
        if one.verdict == "skipped":
            ET.SubElement(case, "skipped", {"message": _sound(one.skipped)})
        elif id(one) in short:
            _failure(case, one.findings, one.verdict)
    _count(suite)


def _failure(case: ET.Element, findings: Iterable[Finding], kind: str) -> None:
    told = [str(finding) for finding in findings]
    failure = ET.SubElement(case, "failure", {"type": kind, "message": _sound(told[0].partition("\n")[0])})
    failure.text = _sound("\n".join(told))


def _count(suite: ET.Element) -> None:
    suite.set("tests", str(len(suite)))
    suite.set("failures", str(len(suite.findall("testcase/failure"))))
    suite.set("errors", "0")
    suite.set("skipped", str(len(suite.findall("testcase/skipped"))))


def _sound(text: str) -> str:
    return _CONTROL.sub("?", text)
