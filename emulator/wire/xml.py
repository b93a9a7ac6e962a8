"""What parsers of XML raise on other bytes, and on encodings that Python does not know or that are for no text."""

from typing import Final
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException

NOT_XML: Final = (ParseError, DefusedXmlException, ValueError, LookupError, RecursionError)
